//! The shells' sides: each asks `rtctl __complete` for candidates, one a line, `WORD<TAB>HELP`; a line `:files` asks for files.

/// For bash.
pub(crate) const BASH: &str = r#"# bash completion for rtctl: source <(rtctl completion bash)
_rtctl() {
    local line IFS=$'\n'
    COMPREPLY=()
    while IFS= read -r line; do
        if [ "$line" = ":files" ]; then
            compopt -o filenames 2>/dev/null
            COMPREPLY+=($(compgen -f -- "${COMP_WORDS[COMP_CWORD]}"))
        else
            COMPREPLY+=("${line%%$'\t'*}")
        fi
    done < <("${COMP_WORDS[0]}" __complete --bash -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
    case ${COMPREPLY[0]-} in *= | *:) compopt -o nospace 2>/dev/null ;; esac
}
complete -F _rtctl rtctl
"#;

/// For zsh.
pub(crate) const ZSH: &str = r#"#compdef rtctl
# zsh completion for rtctl: rtctl completion zsh >"${fpath[1]}/_rtctl"
_rtctl() {
    local line word files=0
    local -a candidates
    while IFS= read -r line; do
        if [[ $line == :files ]]; then
            files=1
        else
            word=${line%%$'\t'*}
            candidates+=("${word//:/\\:}:${line#*$'\t'}")
        fi
    done < <("${words[1]}" __complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)
    (( ${#candidates} )) && _describe rtctl candidates
    (( files )) && _files
}
if [ "$funcstack[1]" = "_rtctl" ]; then _rtctl "$@"; else compdef _rtctl rtctl; fi
"#;

/// For fish.
pub(crate) const FISH: &str = r#"# fish completion for rtctl: rtctl completion fish >~/.config/fish/completions/rtctl.fish
function __rtctl_complete
    set -l words (commandline -opc) (commandline -ct)
    for line in ($words[1] __complete -- $words[2..-1] 2>/dev/null)
        if test "$line" = ":files"
            __fish_complete_path (commandline -ct)
        else
            echo $line
        end
    end
end
complete -c rtctl -f -a '(__rtctl_complete)'
"#;
