//! A body never changes the response, whatever it quotes, in any form and in any parts.

use super::*;

/// Lines that a body may quote.
fn body() -> impl Strategy<Value = String> {
    let prefix = prop_oneof![3 => Just(""), 1 => Just("< "), 1 => Just("  "), 1 => Just("<")];
    let text = prop_oneof![
        3 => "HTTP/(1\\.[01]|[23]) (200|302|404|429|503)( [A-Z][a-z]+)?",
        1 => "HTTP (200|404|503)",
        2 => "(?i:retry-after): [1-9]00",
        1 => "(Server|X-RateLimit-Reset|Content-Length|Date): [0-9]{1,3}",
        2 => Just(String::new()),
        1 => "[a-z<]{1,9}",
        1 => Just("GET /x HTTP/1.1".to_owned()),
        1 => Just("Elapsed time: 0.1s".to_owned()),
    ];
    let end = prop_oneof![2 => Just("\r\n"), 2 => Just("\n"), 1 => Just("\r\r\n"), 1 => Just("")];
    let line = (prefix, text, end).prop_map(|(prefix, text, end)| format!("{prefix}{text}{end}"));
    proptest::collection::vec(line, 0..9).prop_map(|lines| lines.concat())
}

/// The output of a program around a body, and where it stands.
#[derive(Debug, Clone, Copy)]
enum Program {
    /// curl -i
    Included,
    Chunked,
    /// curl -i over HTTP/2, without a length.
    Second,
    /// The body is the last of two responses.
    Redirected,
    /// curl -v, with stdout on the same pipe.
    Verbose,
    /// wget -S -O -, with stdout on the same pipe.
    Wget,
    /// httpie -v
    Httpie,
    /// curl -i -o FILE --headers FILE
    File,
}

const PROGRAMS: [Program; 8] = [
    Program::Included,
    Program::Chunked,
    Program::Second,
    Program::Redirected,
    Program::Verbose,
    Program::Wget,
    Program::Httpie,
    Program::File,
];

impl Program {
    fn streams(self) -> Streams {
        match self {
            Self::Verbose | Self::Wget => BOTH,
            Self::Included | Self::Chunked | Self::Second | Self::Redirected | Self::Httpie | Self::File => {
                STDOUT
            }
        }
    }

    /// The output with this body, for a response with this status.
    fn output(self, status: u16, body: &str) -> String {
        let length = body.len();
        let fields = format!("Server: x\r\nRetry-After: 7\r\nContent-Length: {length}\r\n");
        match self {
            Self::Included | Self::File => format!("HTTP/1.1 {status} x\r\n{fields}\r\n{body}"),
            Self::Chunked => {
                format!("HTTP/1.1 {status} x\r\nRetry-After: 7\r\nTransfer-Encoding: chunked\r\n\r\n{body}")
            }
            Self::Second => {
                format!("HTTP/2 {status} \r\nretry-after: 7\r\ncontent-type: text/plain\r\n\r\n{body}")
            }
            Self::Redirected => format!(
                "HTTP/1.1 302 x\r\nLocation: /\r\nContent-Length: {length}\r\n\r\n{body}\
                 HTTP/1.1 {status} x\r\n{fields}\r\n{body}"
            ),
            Self::Verbose => format!(
                "* Connected\n> GET / HTTP/1.1\r\n> \r\n< HTTP/1.1 {status} x\r\n< Retry-After: 7\r\n< \r\n\
                 {{ [5 bytes data]\n{body}* Connection #0 to host x left intact\n"
            ),
            Self::Wget => format!(
                "--2026-11-24 21:51:59--  http://x/\nHTTP request sent, awaiting response... \n  HTTP/1.1 {status} x\n  \
                 Retry-After: 7\nLength: {length}\nSaving to: 'STDOUT'\n\n{body}\n2026-11-24 21:51:59 (1 MB/s) - written\n"
            ),
            Self::Httpie => format!(
                "POST / HTTP/1.1\r\nContent-Length: {length}\r\nHost: x\r\n\r\n{body}\n\n\
                 HTTP/1.1 {status} x\r\n{fields}\r\n{body}\n\nElapsed time: 0.1s\n\n"
            ),
        }
    }

    /// Reads the output in two parts.
    fn read(self, expected: Expected, output: &str, cut: usize) -> Response {
        if matches!(self, Self::File) {
            return read_file(output);
        }
        let mut feed = Feed::new(expected);
        let (one, other) = output.as_bytes().split_at(cut);
        feed.push(self.streams(), one);
        feed.push(self.streams(), other);
        feed.finish(self.streams())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_body_changes_nothing(body in body(), program in 0..PROGRAMS.len(), status in 0..3usize, any: bool) {
        let (program, status) = (PROGRAMS[program], [200, 404, 503][status]);
        // A file may hold one block after another, so only a body that begins otherwise is one. A body
        // of a redirect that begins with a response is the next response, as curl -L prints it.
        let quotes_at_once = body.trim_start().starts_with("HTTP") || body.trim_start_matches(['\r', '\n']).is_empty()
            || body.lines().next().is_some_and(|line| line.contains(": "));
        prop_assume!(!(matches!(program, Program::File | Program::Redirected) && quotes_at_once));
        let expected = if any { ANY } else { CURL };
        let output = program.output(status, &body);
        for cut in 0..output.len() {
            let response = program.read(expected, &output, cut);
            prop_assert_eq!(says(&response), (Some(status), Some(7.0)), "{:?} {:?} at {}", program, output, cut);
        }
        if !matches!(program, Program::File) {
            let bytes = read_in(expected, program.streams(), output.as_bytes(), 1);
            prop_assert_eq!(says(&bytes), (Some(status), Some(7.0)), "{:?} {:?} by bytes", program, output);
        }
    }

    /// The rest of a stream after a cut does not change a response that counts already.
    #[test]
    fn a_cut_body_changes_nothing(body in "[a-z\n]{1,9}", quote in body(), keep in 0..200usize) {
        let output = Program::Included.output(503, &format!("{body}{quote}"));
        let header = output.len() - body.len() - quote.len();
        let cut = &output.as_bytes()[..(header + 1 + keep).min(output.len())];
        // Lines that are empty may stand between two responses.
        prop_assume!(!body.starts_with('\n'));
        prop_assert_eq!(says(&read_in(CURL, STDOUT, cut, 7)), (Some(503), Some(7.0)));
    }

    /// While no block is open, a reader needs only the lines that match [`CANDIDATE`].
    #[test]
    fn the_candidates_are_all_that_a_reader_takes(text in body(), kind in 0..3usize) {
        let streams = [STDOUT, STDERR, BOTH][kind];
        let every = compile(&["^|x"], Syntax::Bytes, MatchKind::LeftmostFirst).unwrap();
        let mut all = Feed { candidates: every, ..Feed::new(ANY) };
        all.push(streams, &text);
        prop_assert_eq!(all.finish(streams), read_in(ANY, streams, text.as_bytes(), usize::MAX), "{}", text);
    }

    #[test]
    fn no_bytes_panic(bytes: Vec<u8>, part in 1..9usize, now: u32) {
        for expected in [ANY, CURL, NO_HEADERS] {
            for streams in [STDOUT, STDERR, BOTH] {
                let response = read_in(expected, streams, &bytes, part);
                let asked = response.asked(SystemTime::UNIX_EPOCH + Duration::from_secs(now.into()));
                prop_assert!(asked.is_none_or(|asked| !asked.wait.is_zero()));
            }
        }
    }

    /// Blocks before the last complete block do not count, and neither do fields of any other.
    #[test]
    fn the_last_block_wins(before in body(), part in 1..99usize) {
        let output = format!("HTTP/1.1 404 x\r\nContent-Length: {}\r\n\r\n{before}{BLOCK}", before.len());
        prop_assert_eq!(says(&read_in(CURL, STDOUT, output.as_bytes(), part)), (Some(503), Some(120.0)));
    }
}
