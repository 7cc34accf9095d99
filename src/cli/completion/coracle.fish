# Completes coracle's words in fish.
#
# In this shell:  coracle completion fish | source
# In every shell: coracle completion fish > ~/.config/fish/completions/coracle.fish

function __coracle_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l program (string replace -r '^~' -- "$HOME" $words[1])
    set -e words[1]
    set words $words "$current"
    # The words in front may be none.
    for line in (command $program __complete "$words[1]" $words[2..] 2>/dev/null)
        switch $line
            case ':files'
                __fish_complete_path "$current"
            case ':*'
            case '*'
                echo $line
        end
    end
end

complete -c coracle -f -a '(__coracle_complete)'
