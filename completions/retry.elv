
use builtin;
use str;

set edit:completion:arg-completer[retry] = {|@words|
    fn spaces {|n|
        builtin:repeat $n ' ' | str:join ''
    }
    fn cand {|text desc|
        edit:complex-candidate $text &display=$text' '(spaces (- 14 (wcswidth $text)))$desc
    }
    var command = 'retry'
    for word $words[1..-1] {
        if (str:has-prefix $word '-') {
            break
        }
        set command = $command';'$word
    }
    var completions = [
        &'retry'= {
            cand -n 'Maximum attempts, the first included [default: 5]'
            cand --max 'Maximum attempts, the first included [default: 5]'
            cand --deadline 'Time limit for the whole run, including waits'
            cand --timeout 'Time limit for each attempt'
            cand --signal 'Signal to send at the timeout or the deadline [default: TERM]'
            cand --kill-after 'Send KILL this long after --signal; 0 sends KILL immediately [default: 5s]'
            cand --successes 'Succeed only after N successful attempts in a row [default: 1]'
            cand -d 'First delay, or a list of all delays [default: 1s]'
            cand --delay 'First delay, or a list of all delays [default: 1s]'
            cand -j 'How to randomize the delay [default: full]'
            cand --jitter 'How to randomize the delay [default: full]'
            cand --backoff 'How the delay grows [default: exponential]'
            cand --factor 'Growth per retry, for exponential backoff; at least 1 [default: 2]'
            cand --max-delay 'Upper bound on the delay, jitter included [default: 60s]'
            cand --min-delay 'Lower bound on every delay [default: 0]'
            cand --splay 'Longest random wait before the first attempt [default: 0]'
            cand --healthy-after 'Reset the attempt count and the backoff after an attempt that ran this long [default: never]'
            cand --seed 'Seed of the jitter: the same options and seed give the same delays [default: random]'
            cand -r 'Retry these failures and no others; repeatable'
            cand --retry-on 'Retry these failures and no others; repeatable'
            cand -x 'Never retry these failures; repeatable'
            cand --fatal-on 'Never retry these failures; repeatable'
            cand -u 'Retry until this holds; exit 0 is not enough'
            cand --until 'Retry until this holds; exit 0 is not enough'
            cand --success-on 'Count these outcomes as success too; repeatable'
            cand -p 'How to interpret the failures [default: auto]'
            cand --profile 'How to interpret the failures [default: auto]'
            cand --headers 'Read HTTP status and headers from FILE, which the command writes'
            cand --max-retry-after 'Give up if a server asks for a longer wait than DURATION [default: 5m]'
            cand --profiles 'Instead of a COMMAND: show all profiles, or all that one profile knows'
            cand --breaker 'Share a circuit breaker between all runs that give NAME'
            cand --breaker-failures 'Failures in a row that open the breaker, or a share of the last outcomes [default: 5]'
            cand --breaker-cooldown 'Time that the breaker stays open before one run makes a probe [default: 30s]'
            cand --budget 'Limit the retries of all runs that share NAME, by default the name of the breaker'
            cand --state 'Directory for shared state, or a server that all hosts share: `redis://HOST` [default: $XDG_STATE_HOME/retry]'
            cand --breaker-status 'Instead of a COMMAND: show all breakers and budgets, or one'
            cand --breaker-reset 'Instead of a COMMAND: close a breaker'
            cand --breaker-trip 'Instead of a COMMAND: hold a breaker open, for 1h or DURATION'
            cand --stdin 'Standard input of every attempt [default: replay]'
            cand --stdin-limit 'Maximum input kept for replay, such as 64KiB or 1G [default: 1GiB]'
            cand --hold 'Pass on only the output of the attempt that succeeds'
            cand --idempotency-key 'Key by which a server recognizes a repeated request [default: a fresh UUID]'
            cand --check 'Shell command that tells before each attempt whether the work is already done'
            cand --on-retry 'Shell command to run before each retry'
            cand --once 'Run once, and keep the output in FILE'
            cand --report 'Write what happened to FILE: JSON lines, or metrics if FILE ends in .prom; repeatable'
            cand --ci 'Annotate a run that was flaky or failed, if a CI shows annotations [default: auto]'
            cand --summary 'Instead of a COMMAND: show from reports which commands are flaky, the worst first'
            cand --policy 'Take options from a file, one option a line'
            cand --plan 'Show what the options mean, and run nothing'
            cand --label 'Name of the command in messages and reports [default: its base name]'
            cand --breaker-wait 'Wait for the breaker to close instead of failing fast; needs --deadline'
            cand --json 'Print the output of --breaker-status, --plan or --summary as JSON'
            cand --expand 'Replace {key}, {attempt} and {max} in ARGs'
            cand --not-idempotent 'Retry only failures that prove that the command had no effect'
            cand --markdown 'Print the output of --summary as a table in Markdown'
            cand -q 'Print only the final error; -qq prints nothing'
            cand --quiet 'Print only the final error; -qq prints nothing'
            cand -v 'Also print which rule decided'
            cand --verbose 'Also print which rule decided'
            cand -h 'Print the main options (-h) or all (--help)'
            cand --help 'Print the main options (-h) or all (--help)'
            cand -V 'Print the version'
            cand --version 'Print the version'
        }
    ]
    $completions[$command]
}
