#compdef coracle
# Completes coracle's words in zsh.
#
# In this shell:  source <(coracle completion zsh)
# In every shell: coracle completion zsh > FOLDER/_coracle, with a FOLDER of $fpath, before compinit

_coracle() {
    local program=${words[1]/#\~/$HOME} line files=no
    local -a before found options
    (( CURRENT > 2 )) && before=("${(@Q)words[2,CURRENT-1]}")
    for line in "${(@f)$("$program" __complete "${before[@]}" "${(Q)PREFIX}" 2>/dev/null)}"; do
        case $line in
            '') ;;
            :nospace) options=(-S '') ;;
            :files) files=yes ;;
            *$'\t'*) found+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}") ;;
            *) found+=("${line//:/\\:}") ;;
        esac
    done
    local ret=1
    (( ${#found} )) && _describe -t words coracle found "${options[@]}" && ret=0
    [[ $files == yes ]] && _files && ret=0
    return ret
}

# Loaded by compinit, this file is the body of the function; sourced, it has to be told of.
if [[ ${funcstack[1]} == _coracle ]]; then
    _coracle "$@"
else
    compdef _coracle coracle
fi
