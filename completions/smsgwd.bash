# Completion of smsgwd for bash. Written by tools/write_completions.py from the command's own parser: do not edit.

_smsgwd_words() {
    COMPREPLY=($(compgen -W "$1" -- "$current"))
}

_smsgwd_paths() {
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(compgen "$1" -- "$current")
}

# The gateways of the configuration directory: --config, else $SMSGWD_CONFIG, else /etc/smsgwd.
_smsgwd_gateways() {
    local index folder=${SMSGWD_CONFIG:-/etc/smsgwd} file names=()
    for ((index = 1; index < COMP_CWORD; index++)); do
        if [[ ${COMP_WORDS[index]} == --config ]]; then
            folder=${COMP_WORDS[index + 1]}
            [[ $folder == "=" ]] && folder=${COMP_WORDS[index + 2]}
        fi
    done
    for file in "${folder/#\~\//$HOME/}"/gateways.d/*.y{a,}ml; do
        file=${file##*/}
        [[ $file =~ ^[A-Za-z0-9][A-Za-z0-9_-]*\.ya?ml$ ]] && names+=("${file%.*}")
    done
    _smsgwd_words "${names[*]}"
}

_smsgwd() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} verb= word
    COMPREPLY=()
    for word in "${COMP_WORDS[@]:1:COMP_CWORD - 1}"; do
        [[ $word != -* ]] && verb=$word && break
    done
    # `=` is a word of its own: --format=json comes as three.
    if [[ $current == "=" ]]; then
        current=
    elif [[ $previous == "=" ]]; then
        previous=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    case $verb/$previous in
        serve/--state|serve/--config|send/--config|otp/--config|check/--config|test/--config|compile/--config|fmt/--config|render/--config|graph/--config|status/--config|reload/--config|import/--output|demo/--config) _smsgwd_paths -d; return ;;
        serve/--socket|send/--socket|otp/--socket|test/--junit|compile/--output|status/--socket|reload/--socket|import/--token-file|import/--ca-file) _smsgwd_paths -f; return ;;
        send/--gateway|otp/--gateway|render/--gateway) _smsgwd_gateways; return ;;
        send/--to|send/--text|send/--template|send/--var|send/--sender|send/--reference|send/--deadline|send/--idempotency-key|otp/--to|otp/--text|otp/--template|otp/--var|otp/--digits|otp/--ttl|otp/--context|render/--to|render/--text|render/--template|render/--var|render/--sender|render/--reference|status/--timeout|reload/--expect|reload/--timeout) return ;;
        check/--format) _smsgwd_words "text json github sarif"; return ;;
        diff/--format) _smsgwd_words "text json markdown"; return ;;
        render/--format) _smsgwd_words "text curl json"; return ;;
        graph/--format) _smsgwd_words "mermaid dot"; return ;;
        init/--provider) _smsgwd_words "console failover http modem script sipgate smpp smtp clickatell gtx messagebird sipgate-rest smseagle twilio vonage"; return ;;
    esac
    case $verb/$current in
        /-*) _smsgwd_words "--help --version"; return ;;
        /*) _smsgwd_words "serve send otp token check explain test compile diff fmt render graph count status reload schema init import demo"; return ;;
        serve/-*) _smsgwd_words "--help --state --socket --config"; return ;;
        send/-*) _smsgwd_words "--help --gateway --to --text --template --var --sender --reference --deadline --idempotency-key --json --socket --config"; return ;;
        otp/-*) _smsgwd_words "--help --gateway --to --text --template --var --digits --ttl --context --json --socket --config"; return ;;
        otp/*) _smsgwd_words "challenge verify"; return ;;
        token/-*) _smsgwd_words "--help --json"; return ;;
        token/*) _smsgwd_words "new hash-pin"; return ;;
        check/-*) _smsgwd_words "--help --format --strict --secrets --config"; return ;;
        check/*) _smsgwd_paths -f; return ;;
        explain/-*) _smsgwd_words "--help"; return ;;
        explain/*) _smsgwd_words "bad-name name-clash same-id not-a-file dangling-link no-such-file no-such-folder no-gateways unreadable too-large not-utf8 being-written not-kept internal yaml-syntax control-character multiple-documents empty-file not-a-mapping non-text-key duplicate-key yaml-anchor yaml-alias yaml-merge-key yaml-tag yaml-directive too-deep sops-encrypted yaml-surprise unknown-key unknown-provider missing-key conflicting-keys wrong-type bad-value no-value not-supported no-effect bad-duration bad-regex bad-sender unknown-region refuses-all unused-limits rewrite-breaks-number literal-secret credentials-in-url missing-secret exposed-secret secret-link short-secret unused-secret secret-in-query secret-in-arguments clear-password plain-http unverified-tls plain-listener bad-certificate unknown-token template-syntax template-not-allowed unknown-name unknown-filter secret-in-expression single-brace reserved-name ucs2-character may-exceed-segments unrenderable-template bad-url template-in-host bad-auth bad-header bad-xml bad-pointer bad-proxy bad-tls-file body-with-get no-success-rule missing-package not-used not-constant too-long bad-address bad-file reserved-header duplicate-header unknown-smtp-server bad-script bad-pin missing-extra bad-storage unknown-gateway failover-cycle unavailable-gateway clear-pin bad-pin-hash unknown-template unusable-template bad-number duplicate-user bad-ignore unused-ignore"; return ;;
        test/-*) _smsgwd_words "--help --update --junit --config"; return ;;
        test/*) _smsgwd_paths -f; return ;;
        compile/-*) _smsgwd_words "--help --output --config"; return ;;
        diff/-*) _smsgwd_words "--help --format"; return ;;
        diff/*) _smsgwd_paths -f; return ;;
        diff/*) _smsgwd_paths -f; return ;;
        fmt/-*) _smsgwd_words "--help --check --config"; return ;;
        fmt/*) _smsgwd_paths -f; return ;;
        render/-*) _smsgwd_words "--help --gateway --to --text --template --var --sender --reference --format --config"; return ;;
        graph/-*) _smsgwd_words "--help --format --config"; return ;;
        count/-*) _smsgwd_words "--help --json"; return ;;
        status/-*) _smsgwd_words "--help --json --timeout --watch --socket --config"; return ;;
        reload/-*) _smsgwd_words "--help --wait --expect --timeout --socket --config"; return ;;
        schema/-*) _smsgwd_words "--help"; return ;;
        schema/*) _smsgwd_words "console failover gateway http modem script sipgate smpp smsgwd smtp token"; return ;;
        init/-*) _smsgwd_words "--help --provider"; return ;;
        init/*) _smsgwd_paths -d; return ;;
        import/-*) _smsgwd_words "--help --output --token-file --ca-file --force --strict"; return ;;
        import/*) _smsgwd_words "privacyidea"; return ;;
        demo/-*) _smsgwd_words "--help --config"; return ;;
    esac
}

complete -F _smsgwd smsgwd
