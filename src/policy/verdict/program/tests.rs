use std::time::Instant;

use proptest::prelude::*;

use super::*;

/// The program that a line of words runs, and the names of the program's wrappers.
fn program(line: &str) -> (Option<&str>, Vec<&str>) {
    let words: Vec<&str> = line.split_whitespace().collect();
    let programs = look_through(&words);
    let wrappers = programs.wrappers.into_iter().map(|at| words[at]);
    (programs.program.map(|at| words[at]), wrappers.collect())
}

#[test]
fn the_program_is_found_behind_its_wrappers() {
    for (line, expected) in [
        ("curl -f https://example.org", "curl"),
        ("/usr/bin/curl sudo", "/usr/bin/curl"),
        ("sudo curl", "curl"),
        ("/usr/bin/sudo curl", "curl"),
        ("sudo -u root curl -u me", "curl"),
        ("sudo -uroot curl", "curl"),
        ("sudo -nEu root -- curl", "curl"),
        ("sudo --user root --non-interactive curl", "curl"),
        ("sudo --user=root --preserve-env curl", "curl"),
        ("sudo --preserve-env=PATH,HOME curl", "curl"),
        ("sudo -E A=b -n C=d curl", "curl"),
        ("sudo A=b -- curl", "curl"),
        ("sudo -- A=b curl", "A=b"),
        ("sudo /opt/a=b/curl", "/opt/a=b/curl"),
        ("sudo =b curl", "=b"),
        ("sudo -k curl", "curl"),
        ("sudo -", "-"),
        ("doas -n -u www curl", "curl"),
        ("doas -uwww -- curl", "curl"),
        ("doas A=b curl", "A=b"),
        ("setsid -w curl", "curl"),
        ("setsid --fork --wait curl -f", "curl"),
        ("chrt -f 10 curl", "curl"),
        ("chrt --idle 0 curl", "curl"),
        ("chrt -b curl", "curl"),
        ("chrt -d -T 500000 --sched-period 1000000 0 curl", "curl"),
        ("retry -n 3 -d 1,2 -- curl", "curl"),
        ("retry -qn3 --breaker x --hold curl -f", "curl"),
        ("retry -q --hold=both --hold curl -f", "curl"),
        ("retry --deadline=5m sudo curl", "curl"),
        ("xvfb-run -a curl", "curl"),
        ("xvfb-run --server-args=-screen -n 99 curl", "curl"),
        ("env curl", "curl"),
        ("env -i -u NAME -C /tmp A=b C= curl -i", "curl"),
        ("env -iuNAME curl", "curl"),
        ("env --unset=NAME --chdir /tmp --ignore-environment curl", "curl"),
        ("env --ignore-signal=PIPE --block-signal --default-signal curl", "curl"),
        ("env - A=b curl", "curl"),
        ("env -i - A=b curl", "curl"),
        ("env -- - A=b curl", "curl"),
        ("env -- A=b curl", "curl"),
        ("env =b curl", "curl"),
        ("env A=b -u curl", "-u"),
        ("env A=b -- curl", "--"),
        ("env - -i curl", "-i"),
        ("nice curl", "curl"),
        ("nice -10 curl", "curl"),
        ("nice --5 curl", "curl"),
        ("nice -+5 -n 3 curl", "curl"),
        ("nice -n 10 curl", "curl"),
        ("nice -n -10 curl", "curl"),
        ("nice -n-10 curl", "curl"),
        ("nice --adjustment=5 curl", "curl"),
        ("nice --adjustment 5 -- curl", "curl"),
        ("nice -- -5 curl", "-5"),
        ("ionice -c 3 curl -p", "curl"),
        ("ionice -c3 -t -n 7 curl", "curl"),
        ("ionice --class idle --ignore --classdata=7 curl", "curl"),
        ("nohup curl", "curl"),
        ("nohup -- curl", "curl"),
        ("time -p curl", "curl"),
        ("time -f %e -o FILE -av curl", "curl"),
        ("time -fo curl", "curl"),
        ("time --output=FILE --append --format %e curl", "curl"),
        ("timeout 30 curl", "curl"),
        ("timeout -k 5 -s TERM 30 curl", "curl"),
        ("timeout -k5 -v --foreground --signal=TERM 30 curl", "curl"),
        ("timeout --kill-after 5 --preserve-status -- 30 curl", "curl"),
        ("timeout 30 -- curl", "--"),
        ("timeout 30 -k curl", "-k"),
        ("stdbuf -oL curl", "curl"),
        ("stdbuf -oL -i0 -e 0 curl", "curl"),
        ("stdbuf --output=L --error 0 curl", "curl"),
        ("sudo -n env A=b timeout -k 5 30 curl -m 3", "curl"),
        ("nohup nice -n 5 ionice -c3 /usr/bin/time -p stdbuf -oL doas -n curl", "curl"),
        ("env env env curl", "curl"),
        ("timeout sudo curl", "curl"),
    ] {
        assert_eq!(program(line).0, Some(expected), "{line}");
    }
}

#[test]
fn what_is_not_understood_is_not_guessed() {
    for line in [
        "",
        "sudo",
        "sudo -n",
        "sudo -u",
        "sudo -u root",
        "sudo A=b",
        "sudo --",
        "sudo -l curl",
        "sudo -v",
        "sudo -K curl",
        "sudo -k",
        "sudo -V",
        "sudo -e file",
        "sudo -i curl",
        "sudo -s curl",
        "sudo -ns curl",
        "sudo --login curl",
        "sudo --shell curl",
        "sudo -h host curl",
        "sudo --help",
        "sudo --use root curl",
        "sudo --non-interactive=x curl",
        "sudo --unheard-of curl",
        "sudo -Z curl",
        "sudo --=x curl",
        "doas -C /etc/doas.conf curl",
        "doas -L",
        "doas -s",
        "doas --user root curl",
        "env",
        "env -",
        "env A=b",
        "env -i - A=b",
        "env -S curl",
        "env -vS curl",
        "env --split-string=curl",
        "env -0",
        "env --ign curl",
        "nice",
        "nice -5",
        "nice -n 5",
        "nice -5x curl",
        "nice -n5 -x curl",
        "ionice -p 1 curl",
        "ionice -tp1 curl",
        "ionice -u 0",
        "nohup",
        "nohup -5 curl",
        "nohup --help",
        "time -l curl",
        "timeout",
        "timeout 30",
        "timeout --kill 5 30 curl",
        "timeout -30 curl",
        "stdbuf -o",
        "stdbuf -u L curl",
        "env sudo nice",
    ] {
        assert_eq!(program(line).0, None, "{line}");
    }
}

#[test]
fn the_wrappers_are_listed_from_the_outermost() {
    for (line, wrappers) in [
        ("curl", &[][..]),
        ("sudo -n env A=b timeout -k 5 30 curl timeout", &["sudo", "env", "timeout"]),
        ("/usr/bin/nice -5 /usr/bin/nohup curl", &["/usr/bin/nice", "/usr/bin/nohup"]),
        ("timeout 5 sudo -i env", &["timeout", "sudo"]),
        ("env", &["env"]),
    ] {
        assert_eq!(program(line).1, wrappers, "{line}");
    }
}

#[test]
fn the_look_ends_at_some_depth_and_at_some_time() {
    let nested = |depth: usize| program(&("nohup ".repeat(depth) + "curl")).0.is_some();
    assert!(nested(DEPTH - 1));
    assert!(!nested(DEPTH));
    let start = Instant::now();
    let line = "env ".repeat(30) + &"A=b ".repeat(200_000) + "curl";
    assert_eq!(program(&line).0, Some("curl"));
    assert!(start.elapsed().as_secs() < 10);
}

#[test]
fn no_option_stands_twice_in_a_row() {
    for row in TABLE {
        let mut short = [row.flags, row.valued].concat();
        let mut long = [row.long_flags, row.long_valued, row.long_optional].concat();
        let count = (short.len(), long.len());
        short.sort_unstable();
        short.dedup();
        long.sort_unstable();
        long.dedup();
        assert_eq!((short.len(), long.len()), count, "{}", row.name);
    }
}

#[test]
fn the_base_name_is_behind_the_last_slash() {
    for (word, name) in [("curl", "curl"), ("/usr/bin/curl", "curl"), ("./a", "a"), ("a/", ""), ("", "")] {
        assert_eq!(base_name(word.as_bytes()), name.as_bytes());
    }
}

fn check(words: &[impl AsRef<[u8]>]) -> Result<(), TestCaseError> {
    let programs = look_through(words);
    let wraps = |at: usize| TABLE.iter().any(|row| row.name.as_bytes() == base_name(words[at].as_ref()));
    prop_assert!(programs.wrappers.iter().all(|at| wraps(*at)));
    prop_assert!(programs.wrappers.iter().chain(&programs.program).is_sorted_by(|a, b| a < b));
    prop_assert!(programs.program.is_none_or(|at| at < words.len() && !wraps(at)));
    Ok(())
}

proptest! {
    #[test]
    fn no_bytes_panic(words: Vec<Vec<u8>>) {
        check(&words)?;
    }

    #[test]
    fn no_words_of_wrappers_panic(
        words in proptest::collection::vec(
            "(/bin/)?(sudo|doas|env|nice|ionice|nohup|time|timeout|stdbuf)|--?[a-zA-Z0-9=]{0,3}|--user(=x)?|A=b|curl",
            0..40,
        ),
    ) {
        check(&words)?;
    }
}
