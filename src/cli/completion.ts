import { Argument, Command } from 'commander'
import type { Streams } from './output.ts'

/**
 * `millrace completion SHELL`: a script for the shell, made from the commands and options that
 * there are, so that it never falls behind them.
 */
const SHELLS = ['bash', 'zsh', 'fish'] as const
type Shell = (typeof SHELLS)[number]

export function completionCommand(streams: Streams): Command {
  return new Command('completion')
    .description('print a script that completes commands and options in a shell')
    .addArgument(new Argument('<shell>', 'which one').choices(SHELLS))
    .addHelpText(
      'after',
      `
Examples:
  $ millrace completion bash >> ~/.bashrc
  $ millrace completion zsh >> ~/.zshrc
  $ millrace completion fish > ~/.config/fish/completions/millrace.fish`,
    )
    .action((shell: Shell, _options: object, command: Command) => {
      const places = placesOf(root(command), [])
      streams.out(shell === 'fish' ? fishScript(places) : bashScript(places, shell))
    })
}

/** A command as it is typed, and the words that may follow it. */
interface Place {
  readonly path: readonly string[]
  readonly words: readonly { readonly text: string; readonly meaning: string }[]
}

function root(command: Command): Command {
  return command.parent === null ? command : root(command.parent)
}

function placesOf(command: Command, path: readonly string[]): Place[] {
  const words = [
    ...command.commands.map((child) => ({ text: child.name(), meaning: child.description() })),
    ...command.options
      .filter((option) => !option.hidden)
      .map((option) => ({ text: option.long ?? option.short ?? '', meaning: option.description })),
    { text: '--help', meaning: 'show the help' },
  ]
  const children = command.commands.flatMap((child) => placesOf(child, [...path, child.name()]))
  return [{ path, words }, ...children]
}

function bashScript(places: readonly Place[], shell: 'bash' | 'zsh'): string {
  const cases = places.map(({ path, words }) => {
    const texts = words.map(({ text }) => text).join(' ')
    return `    '${path.join(' ')}') words='${texts}' ;;`
  })
  const known = places.map(({ path }) => `'${path.join(' ')}'`).join('|')
  return [
    `# millrace completion for ${shell}`,
    ...(shell === 'zsh' ? ['autoload -U +X bashcompinit && bashcompinit'] : []),
    '_millrace() {',
    '  local place="" word longer words=""',
    '  local index',
    '  for ((index = 1; index < COMP_CWORD; index++)); do',
    // biome-ignore lint/suspicious/noTemplateCurlyInString: the shell's, not ours.
    '    word="${COMP_WORDS[index]}"',
    // biome-ignore lint/suspicious/noTemplateCurlyInString: the shell's, not ours.
    '    longer="${place:+$place }$word"',
    `    case "$longer" in ${known}) place="$longer" ;; esac`,
    '  done',
    '  case "$place" in',
    ...cases,
    '  esac',
    // biome-ignore lint/suspicious/noTemplateCurlyInString: the shell's, not ours.
    '  COMPREPLY=($(compgen -W "$words" -- "${COMP_WORDS[COMP_CWORD]}"))',
    '}',
    'complete -o default -F _millrace millrace',
  ].join('\n')
}

function fishScript(places: readonly Place[]): string {
  const lines = ['# millrace completion for fish', 'complete -c millrace -f']
  for (const { path, words } of places) {
    const children = words.filter(({ text }) => !text.startsWith('-')).map(({ text }) => text)
    const within = path.map((name) => `__fish_seen_subcommand_from ${name}`)
    const before =
      children.length === 0 ? [] : [`not __fish_seen_subcommand_from ${children.join(' ')}`]
    const condition = [...within, ...before].join('; and ') || 'true'
    for (const { text, meaning } of words) {
      const word = text.startsWith('--') ? `-l ${text.slice(2)}` : `-a ${text}`
      lines.push(`complete -c millrace -n '${condition}' ${word} -d '${quoted(meaning)}'`)
    }
  }
  return lines.join('\n')
}

function quoted(text: string): string {
  return text.replaceAll("'", "\\'")
}
