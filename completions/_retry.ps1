
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
            [CompletionResult]::new('-n', '-n', [CompletionResultType]::ParameterName, 'Attempts, the first included [default: 5; unlimited with --deadline]')
            [CompletionResult]::new('--max', '--max', [CompletionResultType]::ParameterName, 'Attempts, the first included [default: 5; unlimited with --deadline]')
            [CompletionResult]::new('--deadline', '--deadline', [CompletionResultType]::ParameterName, 'Limit for everything, waits included')
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'Limit for one attempt')
            [CompletionResult]::new('--signal', '--signal', [CompletionResultType]::ParameterName, 'What ends an attempt at its limit, and the command when retry is killed [default: TERM]')
            [CompletionResult]::new('--kill-after', '--kill-after', [CompletionResultType]::ParameterName, 'From that signal to KILL; 0 kills at once [default: 5s]')
            [CompletionResult]::new('-d', '-d', [CompletionResultType]::ParameterName, 'First delay, or the whole schedule as a list [default: 1s]')
            [CompletionResult]::new('--delay', '--delay', [CompletionResultType]::ParameterName, 'First delay, or the whole schedule as a list [default: 1s]')
            [CompletionResult]::new('-j', '-j', [CompletionResultType]::ParameterName, 'How the delay is spread [default: full]')
            [CompletionResult]::new('--jitter', '--jitter', [CompletionResultType]::ParameterName, 'How the delay is spread [default: full]')
            [CompletionResult]::new('--backoff', '--backoff', [CompletionResultType]::ParameterName, 'How the delay grows [default: exponential]')
            [CompletionResult]::new('--factor', '--factor', [CompletionResultType]::ParameterName, 'Growth per retry, exponential only; at least 1 [default: 2]')
            [CompletionResult]::new('--max-delay', '--max-delay', [CompletionResultType]::ParameterName, 'Cap; jitter stays under it [default: 60s]')
            [CompletionResult]::new('--min-delay', '--min-delay', [CompletionResultType]::ParameterName, 'No delay is shorter, whatever the jitter draws [default: 0]')
            [CompletionResult]::new('--splay', '--splay', [CompletionResultType]::ParameterName, 'Random wait before the first attempt, 0 to this [default: 0]')
            [CompletionResult]::new('--healthy-after', '--healthy-after', [CompletionResultType]::ParameterName, 'An attempt that ran this long starts attempts and backoff anew [default: never]')
            [CompletionResult]::new('--seed', '--seed', [CompletionResultType]::ParameterName, 'Fixes the jitter: same options and seed, same delays [default: random]')
            [CompletionResult]::new('-r', '-r', [CompletionResultType]::ParameterName, 'Retry these, and no other failures; repeatable [default: any failure]')
            [CompletionResult]::new('--retry-on', '--retry-on', [CompletionResultType]::ParameterName, 'Retry these, and no other failures; repeatable [default: any failure]')
            [CompletionResult]::new('-x', '-x', [CompletionResultType]::ParameterName, 'Never retry these; repeatable')
            [CompletionResult]::new('--fatal-on', '--fatal-on', [CompletionResultType]::ParameterName, 'Never retry these; repeatable')
            [CompletionResult]::new('-u', '-u', [CompletionResultType]::ParameterName, 'Only this is success; what else would be success is retried')
            [CompletionResult]::new('--until', '--until', [CompletionResultType]::ParameterName, 'Only this is success; what else would be success is retried')
            [CompletionResult]::new('--success-on', '--success-on', [CompletionResultType]::ParameterName, 'These count as success too; repeatable')
            [CompletionResult]::new('-p', '-p', [CompletionResultType]::ParameterName, 'What is known of the command''s failures [default: auto]')
            [CompletionResult]::new('--profile', '--profile', [CompletionResultType]::ParameterName, 'What is known of the command''s failures [default: auto]')
            [CompletionResult]::new('--headers', '--headers', [CompletionResultType]::ParameterName, 'Read HTTP status and headers from FILE, which the command writes')
            [CompletionResult]::new('--max-retry-after', '--max-retry-after', [CompletionResultType]::ParameterName, 'Give up when a server asks for more than this [default: 5m]')
            [CompletionResult]::new('--breaker', '--breaker', [CompletionResultType]::ParameterName, 'Keep a circuit breaker under NAME between runs')
            [CompletionResult]::new('--breaker-failures', '--breaker-failures', [CompletionResultType]::ParameterName, 'Failures in a row that open it [default: 5]')
            [CompletionResult]::new('--breaker-cooldown', '--breaker-cooldown', [CompletionResultType]::ParameterName, 'How long it stays open before one probe [default: 30s]')
            [CompletionResult]::new('--budget', '--budget', [CompletionResultType]::ParameterName, 'Limit retries over all runs that share NAME, else the breaker''s name')
            [CompletionResult]::new('--state', '--state', [CompletionResultType]::ParameterName, 'Where shared state is kept [default: $XDG_STATE_HOME/retry]')
            [CompletionResult]::new('--breaker-status', '--breaker-status', [CompletionResultType]::ParameterName, 'Instead of a COMMAND: show all breakers and budgets, or one')
            [CompletionResult]::new('--breaker-reset', '--breaker-reset', [CompletionResultType]::ParameterName, 'Instead of a COMMAND: close a breaker')
            [CompletionResult]::new('--breaker-trip', '--breaker-trip', [CompletionResultType]::ParameterName, 'Instead of a COMMAND: hold a breaker open, for 1h or DURATION')
            [CompletionResult]::new('--stdin', '--stdin', [CompletionResultType]::ParameterName, 'What every attempt reads [default: replay]')
            [CompletionResult]::new('--stdin-limit', '--stdin-limit', [CompletionResultType]::ParameterName, 'Most that replay keeps, in bytes [default: 1GiB]')
            [CompletionResult]::new('--idempotency-key', '--idempotency-key', [CompletionResultType]::ParameterName, 'The key exported to every attempt, or the file that keeps it until a run succeeds [default: a fresh UUID]')
            [CompletionResult]::new('--check', '--check', [CompletionResultType]::ParameterName, 'Ask before every attempt whether it is done already')
            [CompletionResult]::new('--label', '--label', [CompletionResultType]::ParameterName, 'The command''s name in messages [default: its base name]')
            [CompletionResult]::new('--breaker-wait', '--breaker-wait', [CompletionResultType]::ParameterName, 'Wait for the probe instead of failing fast; needs --deadline')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Show them as JSON')
            [CompletionResult]::new('--hold', '--hold', [CompletionResultType]::ParameterName, 'Pass on only the stdout of the attempt that succeeds')
            [CompletionResult]::new('--expand', '--expand', [CompletionResultType]::ParameterName, 'Replace {key}, {attempt}, {max} in ARGs')
            [CompletionResult]::new('--not-idempotent', '--not-idempotent', [CompletionResultType]::ParameterName, 'Retry only failures that prove that nothing was sent')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Only the last line, why it failed; twice: nothing')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Only the last line, why it failed; twice: nothing')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Which rule decided, what was signalled, where state is')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Which rule decided, what was signalled, where state is')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'The ten options that matter (-h), or all (--help)')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'The ten options that matter (-h), or all (--help)')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print the version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print the version')
            break
        }
    })

    $completions.Where{ $_.CompletionText -like "$wordToComplete*" } |
        Sort-Object -Property ListItemText
}
