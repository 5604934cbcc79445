
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
            cand -n 'Attempts, the first included [default: 5; unlimited with --deadline]'
            cand --max 'Attempts, the first included [default: 5; unlimited with --deadline]'
            cand --deadline 'Limit for everything, waits included'
            cand --timeout 'Limit for one attempt'
            cand --signal 'What ends an attempt at its limit, and the command when retry is killed [default: TERM]'
            cand --kill-after 'From that signal to KILL; 0 kills at once [default: 5s]'
            cand -d 'First delay, or the whole schedule as a list [default: 1s]'
            cand --delay 'First delay, or the whole schedule as a list [default: 1s]'
            cand -j 'How the delay is spread [default: full]'
            cand --jitter 'How the delay is spread [default: full]'
            cand --backoff 'How the delay grows [default: exponential]'
            cand --factor 'Growth per retry, exponential only; at least 1 [default: 2]'
            cand --max-delay 'Cap; jitter stays under it [default: 60s]'
            cand --min-delay 'No delay is shorter, whatever the jitter draws [default: 0]'
            cand --splay 'Random wait before the first attempt, 0 to this [default: 0]'
            cand --healthy-after 'An attempt that ran this long starts attempts and backoff anew [default: never]'
            cand --seed 'Fixes the jitter: same options and seed, same delays [default: random]'
            cand -r 'Retry these, and no other failures; repeatable [default: any failure]'
            cand --retry-on 'Retry these, and no other failures; repeatable [default: any failure]'
            cand -x 'Never retry these; repeatable'
            cand --fatal-on 'Never retry these; repeatable'
            cand -u 'Only this is success; what else would be success is retried'
            cand --until 'Only this is success; what else would be success is retried'
            cand --success-on 'These count as success too; repeatable'
            cand -p 'What is known of the command''s failures [default: auto]'
            cand --profile 'What is known of the command''s failures [default: auto]'
            cand --headers 'Read HTTP status and headers from FILE, which the command writes'
            cand --max-retry-after 'Give up when a server asks for more than this [default: 5m]'
            cand --breaker 'Keep a circuit breaker under NAME between runs'
            cand --breaker-failures 'Failures in a row that open it [default: 5]'
            cand --breaker-cooldown 'How long it stays open before one probe [default: 30s]'
            cand --budget 'Limit retries over all runs that share NAME, else the breaker''s name'
            cand --state 'Where shared state is kept [default: $XDG_STATE_HOME/retry]'
            cand --breaker-status 'Instead of a COMMAND: show all breakers and budgets, or one'
            cand --breaker-reset 'Instead of a COMMAND: close a breaker'
            cand --breaker-trip 'Instead of a COMMAND: hold a breaker open, for 1h or DURATION'
            cand --stdin 'What every attempt reads [default: replay]'
            cand --stdin-limit 'Most that replay keeps, in bytes [default: 1GiB]'
            cand --idempotency-key 'The key exported to every attempt, or the file that keeps it until a run succeeds [default: a fresh UUID]'
            cand --check 'Ask before every attempt whether it is done already'
            cand --label 'The command''s name in messages [default: its base name]'
            cand --breaker-wait 'Wait for the probe instead of failing fast; needs --deadline'
            cand --json 'Show them as JSON'
            cand --hold 'Pass on only the stdout of the attempt that succeeds'
            cand --expand 'Replace {key}, {attempt}, {max} in ARGs'
            cand --not-idempotent 'Retry only failures that prove that nothing was sent'
            cand -q 'Only the last line, why it failed; twice: nothing'
            cand --quiet 'Only the last line, why it failed; twice: nothing'
            cand -v 'Which rule decided, what was signalled, where state is'
            cand --verbose 'Which rule decided, what was signalled, where state is'
            cand -h 'The ten options that matter (-h), or all (--help)'
            cand --help 'The ten options that matter (-h), or all (--help)'
            cand -V 'Print the version'
            cand --version 'Print the version'
        }
    ]
    $completions[$command]
}
