//! Words of transient causes that many programs share.
//!
//! No row can list every message of every version of a program and of its libraries. If one of these
//! words stands in the output beside a permanent cause, there is doubt, and in doubt retry tries
//! again. A word alone decides nothing.

use super::{Pattern, Says, pattern};

/// A line with such a word.
pub(crate) static DOUBT: Pattern = pattern(
    concat!(
        r"(?i)\b(?:",
        r"connection (?:was )?(?:reset|refused|lost|aborted|broken|terminated|timed out)",
        r"|(?:client|lost) connection|connection lost|closed the connection|remote end (?:closed|hung up)",
        // A bare "connection timeout" is also the description of an option.
        r"|timed out|(?:i/o|handshake|lock|wait) timeout",
        r"|timeout (?:exceeded|expired|was reached|while|waiting|awaiting)|deadline exceeded",
        r"|temporary failure|temporarily|try (?:again later|your request again)|please (?:re)?try",
        r"|service unavailable|bad gateway|gateway time-?out|internal server error|stream error|goaway",
        r"|(?:currently|is) un(?:able to handle|available|reachable)|code = unavailable",
        r"|too many requests|rate limit|rate exceeded|throttl\w*|slow ?down|requesttimeout\w*|quota exceeded",
        r"|unexpected (?:eof|end of (?:file|json|input))|eof detected|truncated|reading from server",
        r"|stale file handle|text file busy|input/output error|resource (?:temporarily unavailable|busy)",
        r"|cannot allocate memory|too many open files|interrupted system call",
        r"|dial (?:tcp|unix) |/run/containerd/|error executing setns process|is loading|max number of clients",
        r"|execution time exceeded|unable to assume|rbac: .* not found|does not have an associated",
        r"|no route to host|network is (?:unreachable|down)|no such host|name resolution",
        r"|could ?n[o']t resolve (?:host|proxy|address)|can'?t contact|cannot contact|offline",
        r"|handshake fail(?:ed|ure)|http2: |ssl_error_syscall|non-properly terminated|recv error|send failure",
        r"|is being (?:deleted|terminated|created|updated)|in progress|not (?:yet|ready)|booting up",
        r")",
    ),
    Says::Doubt("sign of a transient cause"),
);
