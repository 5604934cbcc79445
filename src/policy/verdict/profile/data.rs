//! Databases, backups and object stores.

use super::cloud::{OF_GO, x509};
use super::terminal::{Terminal, free, needs};
use super::{
    PLAIN, Pattern, Profile, Proof, ambiguous_status, fatal, fatal_status, http_status, joined, retryable,
    retryable_status,
};

/// An error of the server, behind the words of the program. In a verbose message its SQLSTATE comes
/// first. The other hosts of a connection string have lines without the program's name.
macro_rules! postgresql {
    ($severity:literal, $words:literal) => {
        concat!(
            r"^(?:\S+: (?:error|detail): .*|psql:.*:[0-9]+: |connection to server .* failed: )?",
            $severity,
            r":  (?:\w{5}: )?",
            $words
        )
    };
}

/// An error in a statement. Without ON_ERROR_STOP psql goes on, so the line counts only with the
/// statuses for such an error.
const fn in_sql(regex: &'static str, words: &'static str) -> Pattern {
    fatal(regex, words).only(&[1..=1, 3..=3])
}

/// Messages of PostgreSQL's client library and server. The SQLSTATEs 08*, 40001, 40P01, 53300,
/// 55P03, 57P01 and 57P03 may pass. Only verbose messages contain them. The server, the library and
/// the programs are translated, so a status is never fatal by itself.
const OF_POSTGRESQL: &[Pattern] = &[
    in_sql(postgresql!("ERROR", r"syntax error at or near "), "syntax error"),
    in_sql(
        postgresql!(
            "ERROR",
            r"(?:relation|column|function|table|schema|type|operator|role|database) .*does not exist"
        ),
        "missing object",
    ),
    in_sql(
        postgresql!("ERROR", r#"(?:relation|schema|type|role|database) ".*" already exists"#),
        "existing object",
    ),
    in_sql(postgresql!("ERROR", r"(?:permission denied for|must be owner of) "), "denied permission"),
    // In a catalog (pg_...) the key is that of another session that creates the same object.
    in_sql(
        postgresql!("ERROR", r#"duplicate key value violates unique constraint "(?:[^p]|p[^g]|pg[^_])"#),
        "duplicate key",
    ),
    in_sql(postgresql!("ERROR", r"(?:null value in|new row for) .* violates "), "violated constraint"),
    in_sql(postgresql!("ERROR", r"(?:invalid input syntax for |division by zero)"), "invalid value"),
    in_sql(
        r"^psql:.*:[0-9]+: error: (?:invalid command |\S+: No such file or directory$)",
        "error in the script",
    ),
    in_sql(r"^(?:psql: error: )?/\S+: No such file or directory$", "missing file"),
    in_sql(
        r#"^\S+: error: could not open (?:input|output) file ".*": No such file or directory"#,
        "missing file",
    ),
    in_sql(r"^\S+: error: no matching \S+ were found", "no matching objects"),
    in_sql(
        r"^\S+: error: (?:input file does not appear to be a valid archive|unsupported version .* in file header)",
        "invalid archive",
    ),
    in_sql(r"^\S+: error: aborting because of server version mismatch", "server version mismatch"),
    in_sql(
        r"^\S+: error: (?:invalid output format|parallel backup only supported|directory .* exists but is not empty)",
        "usage",
    ),
    fatal(postgresql!("FATAL", r"(?:Peer|Ident|GSSAPI) authentication failed "), "failed authentication"),
    fatal(postgresql!("FATAL", r"no pg_hba\.conf entry "), "no pg_hba.conf entry"),
    fatal(postgresql!("FATAL", r"pg_hba\.conf rejects connection "), "rejection by pg_hba.conf"),
    fatal(r"\bfe_sendauth: no password supplied", "missing password"),
    fatal(postgresql!("FATAL", r"permission denied for database "), "denied permission"),
    fatal(postgresql!("FATAL", r#"role ".*" is not permitted to log in"#), "role without login"),
    fatal(postgresql!("FATAL", r"unsupported frontend protocol "), "unsupported protocol"),
    fatal(r"\bserver does not support SSL, but SSL was required", "server without SSL"),
    fatal(r"\bcertificate verify failed", "unverified certificate"),
    fatal(r#"^(?:\S+: hint: )?Try "\S+ --help" for more information"#, "usage"),
    fatal(
        r"^\S+: error: invalid (?:connection option|port number: |\w+ value: )",
        "invalid connection option",
    ),
    retryable(postgresql!("ERROR", r"could not serialize access "), "serialization failure"),
    retryable(postgresql!("ERROR", r"deadlock detected"), "deadlock"),
    retryable(postgresql!("ERROR", r"canceling statement due to lock timeout"), "lock timeout"),
    retryable(
        postgresql!("ERROR", r"canceling statement due to conflict with recovery"),
        "conflict with recovery",
    ),
    retryable(postgresql!("ERROR", r"could not obtain lock on "), "held lock"),
    retryable(postgresql!("ERROR", r".* is being accessed by other users"), "database in use"),
    retryable(postgresql!("FATAL", r"the database system is starting up"), "database startup"),
    retryable(postgresql!("FATAL", r"the database system is shutting down"), "database shutdown"),
    retryable(postgresql!("FATAL", r"the database system is in recovery mode"), "database in recovery mode"),
    retryable(
        postgresql!("FATAL", r"the database system is not (?:yet )?accepting connections"),
        "unready database",
    ),
    retryable(postgresql!("FATAL", r"sorry, too many clients already"), "too many clients"),
    retryable(
        postgresql!("FATAL", r"(?:remaining|reserved) connection slots are "),
        "reserved connection slots",
    ),
    retryable(postgresql!("FATAL", r"too many connections for "), "too many connections"),
    retryable(
        postgresql!("FATAL", r"terminating connection (?:due to|because of) "),
        "terminated connection",
    ),
    retryable(postgresql!("FATAL", r".* exceeds max_wal_senders"), "too many standby connections"),
    retryable(r"\bserver closed the connection unexpectedly", "closed connection"),
    retryable(
        r"\b(?:SSL connection has been closed unexpectedly|SSL SYSCALL error: |could not (?:receive|send) data )",
        "broken connection",
    ),
    retryable(r"\bcould not translate host name ", "unresolved host name"),
    retryable(r"\b(?:failed|could not connect to server): Connection refused", "refused connection").unsent(),
    retryable(r"\bfailed: timeout expired", "expired timeout"),
    retryable(
        r"^\S+: error: connection to (?:server|database) .* failed: ",
        "failed connection to the server",
    )
    .general(),
    // A container or an operator creates them after the server has started:
    // https://github.com/zalando/postgres-operator/issues/2483
    retryable(postgresql!("FATAL", r#"(?:role|database) ".*" does not exist"#), "missing role or database"),
    retryable(postgresql!("FATAL", r"password authentication failed "), "failed password authentication"),
    retryable(r"\b(?:ERROR|FATAL):  (?:08[0-9A-Z]{3}|40001|40P01|53300|55P03|57P01|57P03): ", "SQLSTATE"),
];

pub(super) const PSQL: Profile = Profile {
    name: "psql",
    programs: &["psql"],
    source: "psql(1), EXIT STATUS",
    statuses: &[
        ambiguous_status(1..=1, "error"),
        retryable_status(2..=2, "failed connection"),
        ambiguous_status(3..=3, "error in the script"),
    ],
    patterns: OF_POSTGRESQL,
    terminal: Terminal::needed_but(&[free("").with(&[
        &["pager=off", "--pset=pager=off", "-Ppager=off"],
        &["-c", "--command", "-f", "--file", "-l", "--list"],
    ])])
    .valued("cdfFhLopPRTUv", &[]),
    ..PLAIN
};

pub(super) const PG_ISREADY: Profile = Profile {
    name: "pg_isready",
    programs: &["pg_isready"],
    source: "pg_isready(1), EXIT STATUS",
    statuses: &[
        retryable_status(1..=1, "rejected connection"),
        retryable_status(2..=2, "no response"),
        fatal_status(3..=3, Proof::Usage, "invalid parameters"),
    ],
    ..PLAIN
};

pub(super) const PG_DUMP: Profile = Profile {
    name: "pg_dump",
    programs: &[
        "pg_dump",
        "pg_dumpall",
        "pg_restore",
        "pg_basebackup",
        "createdb",
        "dropdb",
        "vacuumdb",
        "reindexdb",
    ],
    source: "pg_dump(1), DIAGNOSTICS",
    statuses: &[ambiguous_status(1..=1, "error")],
    patterns: OF_POSTGRESQL,
    ..PLAIN
};

/// An error of a client: `ERROR 2002 (HY000): ` of mysql, `Got error: 2002: "`, `Error 2013: ` and
/// `Couldn't execute '...': ... (1205)` of mysqldump, `error: '` without a number of mysqladmin.
macro_rules! mysql {
    ($words:literal) => {
        concat!(r"^(?:ERROR [0-9]|error: '|\S+: (?:Got error: |Error [0-9]|Couldn't execute )).*\b", $words)
    };
}

/// An error by its number, because servers translate their words.
macro_rules! mysql_number {
    ($numbers:literal) => {
        concat!(r"^(?:ERROR |\S+: Got error: |\S+: Error )(?:", $numbers, r")(?:: | \()")
    };
}

pub(super) const MYSQL: Profile = Profile {
    name: "mysql",
    programs: &["mysql", "mariadb", "mysqldump", "mariadb-dump", "mysqladmin", "mariadb-admin"],
    source: "MySQL and MariaDB, error reference",
    // 2 is an error of mysqldump, or an unknown option of any client.
    statuses: &[
        ambiguous_status(1..=1, "error"),
        ambiguous_status(2..=2, "error"),
        fatal_status(7..=7, Proof::Usage, "option or variable"),
    ],
    patterns: &[
        fatal(r"^\S+: unknown (?:option|variable) ", "unknown option"),
        fatal(mysql!("error in your SQL syntax"), "error in your SQL syntax"),
        // Not of mysqldump: another session may drop a table meanwhile.
        fatal(r"^ERROR [0-9].*\bTable '.*' doesn't exist", "missing table"),
        fatal(mysql!("Unknown column "), "Unknown column"),
        fatal(mysql!("Duplicate entry "), "Duplicate entry"),
        fatal(mysql!("is blocked because of many connection errors"), "blocked host"),
        fatal(mysql!("is not allowed to connect to this "), "host without access"),
        fatal(mysql_number!("1130|1142|1143|1227|1820|4151"), "denied access"),
        fatal(
            mysql_number!("1046|1048|1050|1051|1054|1062|1064|1091|1193|1305|1366"),
            "error in the statement",
        ),
        fatal(mysql!("SSL is required, but the server does not support it"), "server without TLS"),
        fatal(r"^ERROR at line [0-9]+: Failed to open file ", "missing file"),
        fatal(r#"^\S+: Couldn't find table: ""#, "missing table"),
        fatal(r"^\S+: Unknown command: ", "unknown command"),
        fatal(r"^\S+: Can't create/write to file .* \(Errcode: (?:2|13) ", "unwritable output"),
        fatal(r"^(?:\S+: .*)?error: 'Can't (?:drop|create) database ", "missing or existing database"),
        retryable(mysql!("Too many connections"), "Too many connections"),
        retryable(mysql!("max_user_connections"), "max_user_connections"),
        retryable(mysql!("Can't connect to "), "no connection"),
        retryable(mysql!("Unknown (?:MySQL )?server host "), "Unknown server host"),
        retryable(mysql!("Lost connection to "), "Lost connection"),
        retryable(mysql!("server has gone away"), "lost server"),
        retryable(mysql!("Server shutdown in progress"), "Server shutdown in progress"),
        retryable(mysql!("Lock wait timeout exceeded"), "lock wait timeout"),
        retryable(mysql!("Deadlock found "), "deadlock"),
        // 1158 to 1161 are broken connections, 1047 and 3032 servers that are not ready.
        retryable(
            mysql_number!("1040|1047|1053|1135|1158|1159|1160|1161|1203|1205|1213|1226|1412|2006|2013|3032"),
            "transient error",
        ),
        // A container creates its user and its database after the server has started:
        // https://github.com/docker-library/mysql/issues/645
        retryable(mysql!("(?:Access denied for user |Unknown database )"), "missing user or database")
            .general(),
        retryable(mysql_number!("1044|1045|1049|1698"), "missing user or database").general(),
        // Before TLS, MariaDB's client prints the number of the server's error so.
        retryable(r"\bcannot be verified: (?:1040|1053|1135|1203|1226|3032) - ", "transient error"),
    ],
    terminal: Terminal::NEEDED,
    ..PLAIN
};

pub(super) const REDIS_CLI: Profile = Profile {
    name: "redis-cli",
    programs: &["redis-cli", "valkey-cli"],
    source: "Redis, redis-cli, -e; protocol, error prefixes",
    statuses: &[ambiguous_status(1..=1, "error")],
    // Only with -e, an error reply goes to stderr, and the status is 1.
    patterns: &[
        fatal(r"^NOAUTH ", "NOAUTH"),
        fatal(r"^WRONGPASS ", "WRONGPASS"),
        fatal(r"^NOPERM ", "NOPERM"),
        fatal(r"^WRONGTYPE ", "WRONGTYPE"),
        fatal(
            concat!(
                r"^ERR (?:unknown|Unknown|wrong|syntax|invalid|value|no such|DB index|AUTH|Error compiling|EXEC without",
                r"|This instance has cluster support disabled|DUMP payload|Function not found|DEBUG command) ?",
            ),
            "ERR",
        ),
        fatal(r"^(?:AUTH failed: (?:WRONGPASS|ERR)|DENIED[ :])", "denied access"),
        fatal(r"^(?:NOSCRIPT|NOGROUP|BUSYKEY|NOTBUSY|CROSSSLOT) ", "permanent error of the command"),
        fatal(r"^(?:Unrecognized option|Invalid URI scheme)", "Unrecognized option"),
        retryable(r"^Could not connect to (?:Redis|Valkey) at ", "no connection"),
        retryable(r"^Error: Server closed the connection", "closed connection"),
        retryable(r"^Error: Connection reset by peer", "reset connection"),
        // Then NOAUTH follows. Old versions do not print the cause.
        retryable(r"^(?:Warning: )?AUTH failed(?:$|: (?:[^EW]|E[^R]|W[^R]))", "failed AUTH"),
        retryable(r"^LOADING ", "LOADING"),
        retryable(r"^BUSY ", "BUSY"),
        retryable(r"^TRYAGAIN ", "TRYAGAIN"),
        retryable(r"^CLUSTERDOWN ", "CLUSTERDOWN"),
        retryable(r"^MASTERDOWN ", "MASTERDOWN"),
        retryable(r"^NOREPLICAS ", "NOREPLICAS"),
        retryable(r"^ERR max number of clients reached", "too many clients"),
    ],
    terminal: Terminal::needed_but(&[
        needs("").with(&[&["--askpass"]]),
        free("").operands(1),
        free("").with(&[&[
            "--scan",
            "--pipe",
            "--rdb",
            "--functions-rdb",
            "--bigkeys",
            "--memkeys",
            "--hotkeys",
            "--latency",
            "--latency-history",
            "--stat",
            "--intrinsic-latency",
            "--version",
            "-v",
            "--cluster",
        ]]),
    ])
    .valued(
        "adDhinprstuX2",
        &[
            "--user",
            "--pass",
            "--sni",
            "--cacert",
            "--cacertdir",
            "--cert",
            "--key",
            "--tls-ciphers",
            "--tls-ciphersuites",
            "--pattern",
            "--quoted-pattern",
            "--count",
            "--show-pushes",
            "--eval",
        ],
    ),
    ..PLAIN
};

const OF_RESTIC: &[Pattern] = &[
    http_status(r"\bunexpected HTTP response \(([0-9]{3})\)"),
    http_status(r"\bserver response unexpected: ([0-9]{3}) "),
    fatal(r"\bwrong password or no key found", "wrong password or missing key"),
    fatal(r"^Fatal: create repository at .*config file already exists", "existing config file"),
    fatal(r"^Fatal: all (?:target|source) directories/files do not exist", "missing source files"),
    fatal(r"\bno (?:snapshot|matching ID) found", "missing snapshot"),
    fatal(r"^Fatal: parsing repository location failed", "invalid repository location"),
    fatal(r"^Fatal: .*\bAccess Denied\b", "denied access"),
    fatal(concat!(r"^Fatal: .*\b", x509!()), "x509"),
    fatal(r"^unknown (?:shorthand )?flag: ", "unknown flag"),
    fatal(r"^unknown command ", "unknown command"),
    fatal(
        concat!(
            r"^(?:invalid argument .* for .* flag: |(?:Resolving password failed: )?Fatal: (?:[Pp]lease specify ",
            r"|nothing to backup, |an empty password |unable to parse ID|\S+ does not exist$))",
        ),
        "usage",
    ),
    retryable(r"\brepository is already locked ", "locked repository"),
];

pub(super) const RESTIC: Profile = Profile {
    name: "restic",
    programs: &["restic"],
    source: "restic, Scripting, Exit codes",
    // Before version 0.17, every error but 3 had status 1.
    statuses: &[
        ambiguous_status(1..=1, "error"),
        ambiguous_status(3..=3, "unreadable source data"),
        // Also a disk that is not mounted yet, and a file that rclone does not see for a moment:
        // https://github.com/restic/restic/pull/5251
        ambiguous_status(10..=10, "missing repository"),
        retryable_status(11..=11, "locked repository"),
        fatal_status(12..=12, Proof::Answer, "wrong password"),
        fatal_status(130..=130, Proof::Interrupted, "interruption"),
    ],
    patterns: &joined::<{ OF_RESTIC.len() + OF_GO.len() }>(OF_RESTIC, OF_GO),
    ..PLAIN
};

const OF_RCLONE: &[Pattern] = &[
    http_status(r"^[0-9/]{10} [0-9:]{8} .*\bHTTP Error: ([0-9]{3}) "),
    http_status(r"^[0-9/]{10} [0-9:]{8} .*\bCopyURL failed: ([0-9]{3}) "),
    // Messages of the AWS libraries. The older library prints the code on a line of its own.
    http_status(r"^\tstatus code: ([0-9]{3}), request id: "),
    http_status(r"\bStatusCode: ([0-9]{3}), RequestID: "),
    http_status(r"^[0-9/]{10} [0-9:]{8} .*: couldn't list files: (40[13]|50[0234]) "),
    fatal(r"\bdidn't find section in config file", "missing section in config file"),
    fatal(concat!(r"^[0-9/]{10} [0-9:]{8} (?:ERROR|CRITICAL|Failed|NOTICE: Failed).*\b", x509!()), "x509"),
    fatal(r"\bdidn't find backend called ", "unknown backend"),
    fatal(
        r"^[0-9/]{10} [0-9:]{8} ERROR : Local file system at .*: error reading source root directory: directory not found",
        "missing directory",
    )
    .only(&[3..=3]),
    fatal(r"^Error: invalid argument ", "usage"),
    // S3 says these with a 4xx too.
    retryable(
        r"^[0-9/]{10} [0-9:]{8} .*\b(?:RequestTimeout|RequestTimeTooSkewed|OperationAborted|SlowDown): ",
        "request to try again later",
    ),
    fatal(r"^Error: unknown (?:shorthand )?flag: ", "unknown flag"),
    fatal(r"^Error: unknown command ", "unknown command"),
    fatal(r"^Command \S+ needs ", "usage"),
];

pub(super) const RCLONE: Profile = Profile {
    name: "rclone",
    programs: &["rclone"],
    source: "rclone(1), Exit code",
    statuses: &[
        ambiguous_status(1..=1, "error"),
        fatal_status(2..=2, Proof::Usage, "usage"),
        // Some stores list a new directory or file only after a while.
        ambiguous_status(3..=3, "missing directory"),
        ambiguous_status(4..=4, "missing file"),
        retryable_status(5..=5, "temporary error"),
        ambiguous_status(6..=6, "NoRetry error"),
        ambiguous_status(7..=7, "fatal error"),
        fatal_status(8..=8, Proof::Local, "exhausted transfer limit"),
        ambiguous_status(9..=9, "no transferred files"),
        fatal_status(10..=10, Proof::Local, "exhausted duration limit"),
    ],
    patterns: &joined::<{ OF_RCLONE.len() + OF_GO.len() }>(OF_RCLONE, OF_GO),
    terminal: Terminal::free_but(&[
        needs("config"),
        needs("ncdu"),
        needs("authorize"),
        needs("").with(&[&["-i", "--interactive"]]),
    ])
    .valued("", &["--config"]),
    ..PLAIN
};
