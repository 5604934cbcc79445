
using namespace System.Management.Automation
using namespace System.Management.Automation.Language

Register-ArgumentCompleter -Native -CommandName 'retry' -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)

    $commandElements = $commandAst.CommandElements
    $command = @(
        'retry'
        for ($i = 1; $i -lt $commandElements.Count; $i++) {
            $element = $commandElements[$i]
            if ($element -isnot [StringConstantExpressionAst] -or
                $element.StringConstantType -ne [StringConstantType]::BareWord -or
                $element.Value.StartsWith('-') -or
                $element.Value -eq $wordToComplete) {
                break
        }
        $element.Value
    }) -join ';'

    $completions = @(switch ($command) {
        'retry' {
            [CompletionResult]::new('-n', '-n', [CompletionResultType]::ParameterName, 'Maximum attempts, the first included [default: 5]')
            [CompletionResult]::new('--max', '--max', [CompletionResultType]::ParameterName, 'Maximum attempts, the first included [default: 5]')
            [CompletionResult]::new('--deadline', '--deadline', [CompletionResultType]::ParameterName, 'Time limit for the whole run, including waits')
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'Time limit for each attempt')
            [CompletionResult]::new('--signal', '--signal', [CompletionResultType]::ParameterName, 'Signal to send at the timeout or the deadline [default: TERM]')
            [CompletionResult]::new('--kill-after', '--kill-after', [CompletionResultType]::ParameterName, 'Send KILL this long after --signal; 0 sends KILL immediately [default: 5s]')
            [CompletionResult]::new('--successes', '--successes', [CompletionResultType]::ParameterName, 'Succeed only after N successful attempts in a row [default: 1]')
            [CompletionResult]::new('-d', '-d', [CompletionResultType]::ParameterName, 'First delay, or a list of all delays [default: 1s]')
            [CompletionResult]::new('--delay', '--delay', [CompletionResultType]::ParameterName, 'First delay, or a list of all delays [default: 1s]')
            [CompletionResult]::new('-j', '-j', [CompletionResultType]::ParameterName, 'How to randomize the delay [default: full]')
            [CompletionResult]::new('--jitter', '--jitter', [CompletionResultType]::ParameterName, 'How to randomize the delay [default: full]')
            [CompletionResult]::new('--backoff', '--backoff', [CompletionResultType]::ParameterName, 'How the delay grows [default: exponential]')
            [CompletionResult]::new('--factor', '--factor', [CompletionResultType]::ParameterName, 'Growth per retry, for exponential backoff; at least 1 [default: 2]')
            [CompletionResult]::new('--max-delay', '--max-delay', [CompletionResultType]::ParameterName, 'Upper bound on the delay, jitter included [default: 60s]')
            [CompletionResult]::new('--min-delay', '--min-delay', [CompletionResultType]::ParameterName, 'Lower bound on every delay [default: 0]')
            [CompletionResult]::new('--splay', '--splay', [CompletionResultType]::ParameterName, 'Longest random wait before the first attempt [default: 0]')
            [CompletionResult]::new('--healthy-after', '--healthy-after', [CompletionResultType]::ParameterName, 'Reset the attempt count and the backoff after an attempt that ran this long [default: never]')
            [CompletionResult]::new('--seed', '--seed', [CompletionResultType]::ParameterName, 'Seed of the jitter: the same options and seed give the same delays [default: random]')
            [CompletionResult]::new('-r', '-r', [CompletionResultType]::ParameterName, 'Retry these failures and no others; repeatable')
            [CompletionResult]::new('--retry-on', '--retry-on', [CompletionResultType]::ParameterName, 'Retry these failures and no others; repeatable')
            [CompletionResult]::new('-x', '-x', [CompletionResultType]::ParameterName, 'Never retry these failures; repeatable')
            [CompletionResult]::new('--fatal-on', '--fatal-on', [CompletionResultType]::ParameterName, 'Never retry these failures; repeatable')
            [CompletionResult]::new('-u', '-u', [CompletionResultType]::ParameterName, 'Retry until this holds; exit 0 is not enough')
            [CompletionResult]::new('--until', '--until', [CompletionResultType]::ParameterName, 'Retry until this holds; exit 0 is not enough')
            [CompletionResult]::new('--success-on', '--success-on', [CompletionResultType]::ParameterName, 'Count these outcomes as success too; repeatable')
            [CompletionResult]::new('-p', '-p', [CompletionResultType]::ParameterName, 'How to interpret the failures [default: auto]')
            [CompletionResult]::new('--profile', '--profile', [CompletionResultType]::ParameterName, 'How to interpret the failures [default: auto]')
            [CompletionResult]::new('--headers', '--headers', [CompletionResultType]::ParameterName, 'Read HTTP status and headers from FILE, which the command writes')
            [CompletionResult]::new('--max-retry-after', '--max-retry-after', [CompletionResultType]::ParameterName, 'Give up if a server asks for a longer wait than DURATION [default: 5m]')
            [CompletionResult]::new('--profiles', '--profiles', [CompletionResultType]::ParameterName, 'Instead of a COMMAND: show all profiles, or all that one profile knows')
            [CompletionResult]::new('--breaker', '--breaker', [CompletionResultType]::ParameterName, 'Share a circuit breaker between all runs that give NAME')
            [CompletionResult]::new('--breaker-failures', '--breaker-failures', [CompletionResultType]::ParameterName, 'Failures in a row that open the breaker, or a share of the last outcomes [default: 5]')
            [CompletionResult]::new('--breaker-cooldown', '--breaker-cooldown', [CompletionResultType]::ParameterName, 'Time that the breaker stays open before one run makes a probe [default: 30s]')
            [CompletionResult]::new('--budget', '--budget', [CompletionResultType]::ParameterName, 'Limit the retries of all runs that share NAME, by default the name of the breaker')
            [CompletionResult]::new('--state', '--state', [CompletionResultType]::ParameterName, 'Directory for shared state, or a server that all hosts share: `redis://HOST` [default: $XDG_STATE_HOME/retry]')
            [CompletionResult]::new('--breaker-status', '--breaker-status', [CompletionResultType]::ParameterName, 'Instead of a COMMAND: show all breakers and budgets, or one')
            [CompletionResult]::new('--breaker-reset', '--breaker-reset', [CompletionResultType]::ParameterName, 'Instead of a COMMAND: close a breaker')
            [CompletionResult]::new('--breaker-trip', '--breaker-trip', [CompletionResultType]::ParameterName, 'Instead of a COMMAND: hold a breaker open, for 1h or DURATION')
            [CompletionResult]::new('--stdin', '--stdin', [CompletionResultType]::ParameterName, 'Standard input of every attempt [default: replay]')
            [CompletionResult]::new('--stdin-limit', '--stdin-limit', [CompletionResultType]::ParameterName, 'Maximum input kept for replay, such as 64KiB or 1G [default: 1GiB]')
            [CompletionResult]::new('--hold', '--hold', [CompletionResultType]::ParameterName, 'Pass on only the output of the attempt that succeeds')
            [CompletionResult]::new('--idempotency-key', '--idempotency-key', [CompletionResultType]::ParameterName, 'Key by which a server recognizes a repeated request [default: a fresh UUID]')
            [CompletionResult]::new('--check', '--check', [CompletionResultType]::ParameterName, 'Shell command that tells before each attempt whether the work is already done')
            [CompletionResult]::new('--on-retry', '--on-retry', [CompletionResultType]::ParameterName, 'Shell command to run before each retry')
            [CompletionResult]::new('--once', '--once', [CompletionResultType]::ParameterName, 'Run once, and keep the output in FILE')
            [CompletionResult]::new('--report', '--report', [CompletionResultType]::ParameterName, 'Write what happened to FILE: JSON lines, or metrics if FILE ends in .prom; repeatable')
            [CompletionResult]::new('--ci', '--ci', [CompletionResultType]::ParameterName, 'Annotate a run that was flaky or failed, if a CI shows annotations [default: auto]')
            [CompletionResult]::new('--summary', '--summary', [CompletionResultType]::ParameterName, 'Instead of a COMMAND: show from reports which commands are flaky, the worst first')
            [CompletionResult]::new('--policy', '--policy', [CompletionResultType]::ParameterName, 'Take options from a file, one option a line')
            [CompletionResult]::new('--plan', '--plan', [CompletionResultType]::ParameterName, 'Show what the options mean, and run nothing')
            [CompletionResult]::new('--label', '--label', [CompletionResultType]::ParameterName, 'Name of the command in messages and reports [default: its base name]')
            [CompletionResult]::new('--breaker-wait', '--breaker-wait', [CompletionResultType]::ParameterName, 'Wait for the breaker to close instead of failing fast; needs --deadline')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print the output of --breaker-status, --plan or --summary as JSON')
            [CompletionResult]::new('--expand', '--expand', [CompletionResultType]::ParameterName, 'Replace {key}, {attempt} and {max} in ARGs')
            [CompletionResult]::new('--not-idempotent', '--not-idempotent', [CompletionResultType]::ParameterName, 'Retry only failures that prove that the command had no effect')
            [CompletionResult]::new('--markdown', '--markdown', [CompletionResultType]::ParameterName, 'Print the output of --summary as a table in Markdown')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print only the final error; -qq prints nothing')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print only the final error; -qq prints nothing')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Also print which rule decided')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Also print which rule decided')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print the main options (-h) or all (--help)')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print the main options (-h) or all (--help)')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print the version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print the version')
            break
        }
    })

    $completions.Where{ $_.CompletionText -like "$wordToComplete*" } |
        Sort-Object -Property ListItemText
}
