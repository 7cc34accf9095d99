# Completes coracle's words in bash, with and without the package bash-completion.
#
# In this shell:  source <(coracle completion bash)
# In every shell: coracle completion bash > ~/.local/share/bash-completion/completions/coracle
# (without bash-completion: add the first of these lines to ~/.bashrc)

_coracle() {
    local rest=${COMP_LINE:0:COMP_POINT} words=() word i
    # bash cuts words at : and = too; what no blank separates is one word here.
    for ((i = 0; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if ((i == 0)) || [[ $rest == [[:blank:]]* ]]; then
            rest=${rest#"${rest%%[![:blank:]]*}"}
            words+=("")
        fi
        # The cursor may stand inside of the last one.
        if ((${#word} > ${#rest})); then word=$rest; fi
        words[${#words[@]} - 1]+=$word
        rest=${rest#"$word"}
    done
    local last=$((${#words[@]} - 1))
    words[last]=${words[last]#[\"\']}
    local current=${words[last]} program=${words[0]/#\~/$HOME}

    # Only what follows the last of these is replaced.
    local breaks="" head=""
    [[ $COMP_WORDBREAKS == *:* ]] && breaks+=":"
    [[ $COMP_WORDBREAKS == *=* ]] && breaks+="="
    [[ -n $breaks ]] && head=${current%"${current##*["$breaks"]}"}

    local value about files=no values=() abouts=() width=0
    COMPREPLY=()
    while IFS=$'\t' read -r value about; do
        case $value in
            "") ;;
            :nospace) compopt -o nospace 2>/dev/null ;;
            :files) files=yes ;;
            *)
                value=${value#"$head"}
                values+=("$value") abouts+=("$about")
                if ((${#value} > width)); then width=${#value}; fi
                ;;
        esac
    done < <("$program" __complete "${words[@]:1}" 2>/dev/null)

    if [[ $files == yes ]]; then
        ((${#values[@]} > 0)) || compopt -o filenames 2>/dev/null
        while IFS= read -r value; do
            values+=("$value") abouts+=("")
        done < <(compgen -f -- "${current#"$head"}")
    fi
    # Explanations are for lists only: one candidate is put in, and so are those that a menu goes through.
    local line room=$((${COLUMNS:-80} - width - 5))
    for ((i = 0; i < ${#values[@]}; i++)); do
        line=${values[i]}
        if ((${#values[@]} > 1 && COMP_TYPE != 37 && COMP_TYPE != 42 && room > 10)) && [[ -n ${abouts[i]} ]]; then
            printf -v line "%-${width}s  (%s)" "$line" "${abouts[i]:0:room}"
        fi
        COMPREPLY+=("$line")
    done
}

complete -F _coracle coracle
