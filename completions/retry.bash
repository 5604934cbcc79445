# Completion of retry(1) for bash.

# Offers the policies whose names begin with this word, or files if the word is a path.
_retry_policies() {
    local directory file
    case $1 in
        */* | .* | '~'*) compopt -o default; return ;;
    esac
    [[ none == "$1"* ]] && COMPREPLY+=(none)
    for directory in "${XDG_CONFIG_HOME:-$HOME/.config}/retry" /etc/retry; do
        while IFS= read -r file; do
            [[ -f $file ]] && COMPREPLY+=("$(printf %q "${file##*/}")")
        done < <(compgen -f -- "$directory/$1")
    done
}

# Offers the breakers and budgets whose names begin with this word, or files if the word is a path.
_retry_breakers() {
    local file directory=${RETRY_STATE:-${XDG_STATE_HOME:-$HOME/.local/state}/retry}
    case $1 in
        */* | .* | '~'*) compopt -o default; return ;;
    esac
    while IFS= read -r file; do
        file=${file##*/}
        [[ $file == *.json ]] && COMPREPLY+=("$(printf %q "${file%.json}")")
    done < <(compgen -f -- "$directory/$1")
}

_retry() {
    local i=1 word ended= option= head= values= cur=${COMP_WORDS[COMP_CWORD]}
    COMPREPLY=()
    # Where does the command begin?
    while ((i < COMP_CWORD)); do
        word=${COMP_WORDS[i]}
        case $word in
            --) ended=1; ((i += 1)); break ;;
            --max | --deadline | --timeout | --signal | --kill-after | --successes | --delay | --jitter | --backoff | --factor | --max-delay | --min-delay | --splay | --healthy-after | --seed | --retry-on | --fatal-on | --until | --success-on | --profile | --headers | --max-retry-after | --breaker | --breaker-failures | --breaker-cooldown | --budget | --state | --breaker-reset | --breaker-trip | --stdin | --stdin-limit | --idempotency-key | --check | --on-retry | --once | --report | --ci | --summary | --policy | --label)
                option=$word
                # Readline makes a word of the "=" between name and value.
                [[ ${COMP_WORDS[i + 1]} == = ]] && ((i += 1))
                ((i += 2)) ;;
            --profiles | --breaker-status | --hold | --plan)
                option=$word
                ((i += 1))
                [[ ${COMP_WORDS[i]} == = ]] && ((i += 2)) ;;
            --*) ((i += 1)) ;;
            -*)
                if [[ $word =~ ^-[qvhV]*[ndjrxup]$ ]]; then
                    option=-${word: -1}
                    ((i += 1))
                fi
                ((i += 1)) ;;
            *) break ;;
        esac
    done
    if ((i > COMP_CWORD)); then
        [[ $cur == = ]] && cur=
        case $option in
            --signal) values='TERM INT HUP QUIT KILL ABRT USR1 USR2' ;;
            -j | --jitter) values='full equal decorrelated additive none' ;;
            --backoff) values='exponential linear fibonacci constant' ;;
            -p | --profile) [[ $cur == *,* ]] && head=${cur%,*},; values='curl wget http httpie ssh rsync git apt pip npm uv yarn pnpm cargo go gem composer mvn gradle dnf apk docker skopeo kubectl helm aws az gcloud psql pg_isready pg_dump mysql redis-cli restic rclone gh terraform ansible retry timeout sudo doas sysexits auto none' ;;
            --profiles) values='curl wget http httpie ssh rsync git apt pip npm uv yarn pnpm cargo go gem composer mvn gradle dnf apk docker skopeo kubectl helm aws az gcloud psql pg_isready pg_dump mysql redis-cli restic rclone gh terraform ansible retry timeout sudo doas sysexits' ;;
            --stdin) values='replay inherit null' ;;
            --hold) values='stdout both' ;;
            --ci) values='auto none' ;;
            --headers) compopt -o default; return ;;
            --once) compopt -o default; return ;;
            --report) compopt -o default; return ;;
            --summary) compopt -o default; return ;;
            --policy) _retry_policies "$cur"; return ;;
            --breaker | --breaker-status | --breaker-reset | --breaker-trip) _retry_breakers "$cur"; return ;;
            -r | --retry-on | -x | --fatal-on | -u | --until | --success-on)
                [[ $cur == *,* ]] && head=${cur%,*},
                values='failure success any timeout signal transient http:5xx stdout~ stderr~ output~' ;;
        esac
        COMPREPLY=($(compgen -P "$head" -W "$values" -- "${cur#"$head"}"))
        # A pattern follows the word.
        [[ ${COMPREPLY[*]} == *'~' ]] && compopt -o nospace
    elif [[ -z $ended && $cur == -* ]] && ((i == COMP_CWORD)); then
        COMPREPLY=($(compgen -W '-n --max --deadline --timeout --signal --kill-after --successes -d --delay -j --jitter --backoff --factor --max-delay --min-delay --splay --healthy-after --seed -r --retry-on -x --fatal-on -u --until --success-on -p --profile --headers --max-retry-after --profiles --breaker --breaker-failures --breaker-cooldown --breaker-wait --budget --state --breaker-status --json --breaker-reset --breaker-trip --stdin --stdin-limit --hold --idempotency-key --expand --check --on-retry --not-idempotent --once --report --ci --summary --markdown --policy --plan -q --quiet -v --verbose --label -h --help -V --version' -- "$cur"))
    elif declare -F _comp_command_offset >/dev/null; then
        _comp_command_offset "$i"
    elif declare -F _command_offset >/dev/null; then
        _command_offset "$i"
    elif ((i == COMP_CWORD)); then
        COMPREPLY=($(compgen -c -- "$cur"))
    else
        # Files.
        compopt -o default
    fi
}

complete -F _retry retry
