# Completion of retry(1) for fish.

# The command and its arguments so far, separated by NUL. It fails if the command has not begun.
function __retry_command_line
    set -l tokens (commandline -opc) (commandline -ct)
    set -e tokens[1]
    argparse -s n/max= deadline= timeout= signal= kill-after= successes= d/delay= j/jitter= backoff= factor= max-delay= min-delay= splay= healthy-after= seed= r/retry-on= x/fatal-on= u/until= success-on= p/profile= headers= max-retry-after= 'profiles=?' breaker= breaker-failures= breaker-cooldown= breaker-wait budget= state= 'breaker-status=?' json breaker-reset= breaker-trip= stdin= stdin-limit= 'hold=?' idempotency-key= expand check= on-retry= not-idempotent once= report= ci= summary= markdown policy= 'plan=?' q/quiet v/verbose label= h/help V/version -- $tokens 2>/dev/null
    or return 1
    set -q argv[1]
    or return 1
    string match -qr -- '^-' $argv[1]
    and return 1
    # join0 fails if there is only one word.
    string join0 -- $argv
    return 0
end

function __retry_command
    __retry_command_line >/dev/null
end

function __retry_complete_command
    set -l line (__retry_command_line | string split0)
    set -l last $line[-1]
    set -e line[-1]
    complete -C (string join -- ' ' (for word in $line; string escape -- $word; end) $last | string collect)
end

# The policies, or files if the word is a path.
function __retry_policies
    set -l word (string replace -r '^--policy=' '' -- (commandline -ct))
    if string match -qr '^[.~]|/' -- $word
        __fish_complete_path $word
        return
    end
    set -l config $XDG_CONFIG_HOME
    test -n "$config"
    or set config ~/.config
    echo none
    for file in $config/retry/* /etc/retry/*
        test -f $file
        and string replace -r '.*/' '' -- $file
    end
end

# The breakers and budgets, or files if the word is a path.
function __retry_breakers
    set -l word (string replace -r '^--[^=]*=' '' -- (commandline -ct))
    if string match -qr '^[.~]|/' -- $word
        __fish_complete_path $word
        return
    end
    set -l state $XDG_STATE_HOME
    test -n "$state"
    or set state ~/.local/state
    set -l directory $RETRY_STATE
    test -n "$directory"
    or set directory $state/retry
    for file in $directory/*.json
        string replace -r '.*/(.*)\.json$' '$1' -- $file
    end
end

# The words of a condition, after the last comma of a list.
function __retry_conditions
    set -l word (string replace -r '^--[^=]*=' '' -- (commandline -ct))
    set -l head (string match -r '.*,' -- $word)
    for name in failure success any timeout signal transient http:5xx 'stdout~' 'stderr~' 'output~'
        echo "$head$name"
    end
end

complete -c retry -n 'not __retry_command' -s n -l max -d 'Maximum attempts, the first included [default: 5]' -r -f
complete -c retry -n 'not __retry_command' -l deadline -d 'Time limit for the whole run, including waits' -r -f
complete -c retry -n 'not __retry_command' -l timeout -d 'Time limit for each attempt' -r -f
complete -c retry -n 'not __retry_command' -l signal -d 'Signal to send at the timeout or the deadline [default: TERM]' -r -f -a "TERM\t''
INT\t''
HUP\t''
QUIT\t''
KILL\t''
ABRT\t''
USR1\t''
USR2\t''"
complete -c retry -n 'not __retry_command' -l kill-after -d 'Send KILL this long after --signal; 0 sends KILL immediately [default: 5s]' -r -f
complete -c retry -n 'not __retry_command' -l successes -d 'Succeed only after N successful attempts in a row [default: 1]' -r -f
complete -c retry -n 'not __retry_command' -s d -l delay -d 'First delay, or a list of all delays [default: 1s]' -r -f
complete -c retry -n 'not __retry_command' -s j -l jitter -d 'How to randomize the delay [default: full]' -r -f -a "full\t'random between 0 and the delay'
equal\t'random between half the delay and the delay'
decorrelated\t'random from the first delay to 3 times the previous'
additive\t'random between the delay and twice the delay'
none\t'the delay, not randomized'"
complete -c retry -n 'not __retry_command' -l backoff -d 'How the delay grows [default: exponential]' -r -f -a "exponential\t'multiplied by --factor for every retry'
linear\t'1, 2, 3, 4 times the first delay'
fibonacci\t'1, 1, 2, 3, 5 times the first delay'
constant\t'always the first delay'"
complete -c retry -n 'not __retry_command' -l factor -d 'Growth per retry, for exponential backoff; at least 1 [default: 2]' -r -f
complete -c retry -n 'not __retry_command' -l max-delay -d 'Upper bound on the delay, jitter included [default: 60s]' -r -f
complete -c retry -n 'not __retry_command' -l min-delay -d 'Lower bound on every delay [default: 0]' -r -f
complete -c retry -n 'not __retry_command' -l splay -d 'Longest random wait before the first attempt [default: 0]' -r -f
complete -c retry -n 'not __retry_command' -l healthy-after -d 'Reset the attempt count and the backoff after an attempt that ran this long [default: never]' -r -f
complete -c retry -n 'not __retry_command' -l seed -d 'Seed of the jitter: the same options and seed give the same delays [default: random]' -r -f
complete -c retry -n 'not __retry_command' -s r -l retry-on -d 'Retry these failures and no others; repeatable' -r -f -a '(__retry_conditions)'
complete -c retry -n 'not __retry_command' -s x -l fatal-on -d 'Never retry these failures; repeatable' -r -f -a '(__retry_conditions)'
complete -c retry -n 'not __retry_command' -s u -l until -d 'Retry until this holds; exit 0 is not enough' -r -f -a '(__retry_conditions)'
complete -c retry -n 'not __retry_command' -l success-on -d 'Count these outcomes as success too; repeatable' -r -f -a '(__retry_conditions)'
complete -c retry -n 'not __retry_command' -s p -l profile -d 'How to interpret the failures [default: auto]' -r -f -a "curl\t''
wget\t''
http\t''
httpie\t''
ssh\t''
rsync\t''
git\t''
apt\t''
pip\t''
npm\t''
uv\t''
yarn\t''
pnpm\t''
cargo\t''
go\t''
gem\t''
composer\t''
mvn\t''
gradle\t''
dnf\t''
apk\t''
docker\t''
skopeo\t''
kubectl\t''
helm\t''
aws\t''
az\t''
gcloud\t''
psql\t''
pg_isready\t''
pg_dump\t''
mysql\t''
redis-cli\t''
restic\t''
rclone\t''
gh\t''
terraform\t''
ansible\t''
retry\t''
timeout\t''
sudo\t''
doas\t''
sysexits\t''
auto\t''
none\t''"
complete -c retry -n 'not __retry_command' -l headers -d 'Read HTTP status and headers from FILE, which the command writes' -r -F
complete -c retry -n 'not __retry_command' -l max-retry-after -d 'Give up if a server asks for a longer wait than DURATION [default: 5m]' -r -f
complete -c retry -n 'not __retry_command' -l profiles -d 'Instead of a COMMAND: show all profiles, or all that one profile knows' -f -a "curl\t''
wget\t''
http\t''
httpie\t''
ssh\t''
rsync\t''
git\t''
apt\t''
pip\t''
npm\t''
uv\t''
yarn\t''
pnpm\t''
cargo\t''
go\t''
gem\t''
composer\t''
mvn\t''
gradle\t''
dnf\t''
apk\t''
docker\t''
skopeo\t''
kubectl\t''
helm\t''
aws\t''
az\t''
gcloud\t''
psql\t''
pg_isready\t''
pg_dump\t''
mysql\t''
redis-cli\t''
restic\t''
rclone\t''
gh\t''
terraform\t''
ansible\t''
retry\t''
timeout\t''
sudo\t''
doas\t''
sysexits\t''"
complete -c retry -n 'not __retry_command' -l breaker -d 'Share a circuit breaker between all runs that give NAME' -r -f -a '(__retry_breakers)'
complete -c retry -n 'not __retry_command' -l breaker-failures -d 'Failures in a row that open the breaker, or a share of the last outcomes [default: 5]' -r -f
complete -c retry -n 'not __retry_command' -l breaker-cooldown -d 'Time that the breaker stays open before one run makes a probe [default: 30s]' -r -f
complete -c retry -n 'not __retry_command' -l budget -d 'Limit the retries of all runs that share NAME, by default the name of the breaker' -r -f
complete -c retry -n 'not __retry_command' -l state -d 'Directory for shared state, or a server that all hosts share: `redis://HOST` [default: $XDG_STATE_HOME/retry]' -r -f -a "(__fish_complete_directories)"
complete -c retry -n 'not __retry_command' -l breaker-status -d 'Instead of a COMMAND: show all breakers and budgets, or one' -f -a '(__retry_breakers)'
complete -c retry -n 'not __retry_command' -l breaker-reset -d 'Instead of a COMMAND: close a breaker' -r -f -a '(__retry_breakers)'
complete -c retry -n 'not __retry_command' -l breaker-trip -d 'Instead of a COMMAND: hold a breaker open, for 1h or DURATION' -r -f -a '(__retry_breakers)'
complete -c retry -n 'not __retry_command' -l stdin -d 'Standard input of every attempt [default: replay]' -r -f -a "replay\t'the same input, from its beginning'
inherit\t'the input that the previous attempt left unread'
null\t'nothing'"
complete -c retry -n 'not __retry_command' -l stdin-limit -d 'Maximum input kept for replay, such as 64KiB or 1G [default: 1GiB]' -r -f
complete -c retry -n 'not __retry_command' -l hold -d 'Pass on only the output of the attempt that succeeds' -f -a "stdout\t'stdout; stderr passes at once'
both\t'stdout and stderr, in their order'"
complete -c retry -n 'not __retry_command' -l idempotency-key -d 'Key by which a server recognizes a repeated request [default: a fresh UUID]' -r -f
complete -c retry -n 'not __retry_command' -l check -d 'Shell command that tells before each attempt whether the work is already done' -r -f -a "(__fish_complete_command)"
complete -c retry -n 'not __retry_command' -l on-retry -d 'Shell command to run before each retry' -r -f -a "(__fish_complete_command)"
complete -c retry -n 'not __retry_command' -l once -d 'Run once, and keep the output in FILE' -r -F
complete -c retry -n 'not __retry_command' -l report -d 'Write what happened to FILE: JSON lines, or metrics if FILE ends in .prom; repeatable' -r -F
complete -c retry -n 'not __retry_command' -l ci -d 'Annotate a run that was flaky or failed, if a CI shows annotations [default: auto]' -r -f -a "auto\t'in GitHub Actions and Azure Pipelines'
none\t'never'"
complete -c retry -n 'not __retry_command' -l summary -d 'Instead of a COMMAND: show from reports which commands are flaky, the worst first' -r -F
complete -c retry -n 'not __retry_command' -l policy -d 'Take options from a file, one option a line' -r -f -a '(__retry_policies)'
complete -c retry -n 'not __retry_command' -l plan -d 'Show what the options mean, and run nothing' -f
complete -c retry -n 'not __retry_command' -l label -d 'Name of the command in messages and reports [default: its base name]' -r -f
complete -c retry -n 'not __retry_command' -l breaker-wait -d 'Wait for the breaker to close instead of failing fast; needs --deadline'
complete -c retry -n 'not __retry_command' -l json -d 'Print the output of --breaker-status, --plan or --summary as JSON'
complete -c retry -n 'not __retry_command' -l expand -d 'Replace {key}, {attempt} and {max} in ARGs'
complete -c retry -n 'not __retry_command' -l not-idempotent -d 'Retry only failures that prove that the command had no effect'
complete -c retry -n 'not __retry_command' -l markdown -d 'Print the output of --summary as a table in Markdown'
complete -c retry -n 'not __retry_command' -s q -l quiet -d 'Print only the final error; -qq prints nothing'
complete -c retry -n 'not __retry_command' -s v -l verbose -d 'Also print which rule decided'
complete -c retry -n 'not __retry_command' -s h -l help -d 'Print the main options (-h) or all (--help)'
complete -c retry -n 'not __retry_command' -s V -l version -d 'Print the version'
complete -c retry -x -n __retry_command -a '(__retry_complete_command)'
