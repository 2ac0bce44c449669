/**
 * Where options come from, each turned into plain (name, text) pairs: properties files as Java
 * reads them, YAML (nested names or dotted ones), and environment variables by the rule of Kafka's
 * Docker images. Nothing here knows which options exist.
 */
import { parse as parseYaml } from 'yaml'

/**
 * Reads a Java properties file: comments, continued lines, escapes, `=`, `:` or a blank between.
 */
export function parseProperties(source: string): Map<string, string> {
  const entries = new Map<string, string>()
  const lines = source.split(/\r\n|\r|\n/)
  for (let i = 0; i < lines.length; i++) {
    let line = (lines[i] as string).trimStart()
    if (line === '' || line.startsWith('#') || line.startsWith('!')) continue
    while (endsInBackslash(line) && i + 1 < lines.length) {
      i++
      line = line.slice(0, -1) + (lines[i] as string).trimStart()
    }
    if (endsInBackslash(line)) line = line.slice(0, -1)
    // The name ends at the first '=', ':' or blank that no backslash precedes.
    const name = /^(?:\\.|[^\\=:\s])*/.exec(line)?.[0] ?? ''
    const value = line.slice(name.length).replace(/^\s*[=:]?\s*/, '')
    entries.set(unescapeText(name), unescapeText(value).trimEnd())
  }
  return entries
}

function endsInBackslash(line: string): boolean {
  const backslashes = /\\*$/.exec(line)?.[0].length ?? 0
  return backslashes % 2 === 1
}

const ESCAPES: Readonly<Record<string, string>> = { t: '\t', n: '\n', r: '\r', f: '\f' }

function unescapeText(text: string): string {
  return text.replace(/\\(?:u([0-9a-fA-F]{4})|(.))/gs, (_, hex?: string, one?: string) =>
    hex === undefined
      ? (ESCAPES[one as string] ?? (one as string))
      : String.fromCharCode(Number.parseInt(hex, 16)),
  )
}

/**
 * Reads a YAML (or JSON) mapping. `log: { dirs: [a, b] }` and `log.dirs: a,b` say the same. Throws
 * an Error whose message names what is wrong.
 */
export function parseYamlOptions(source: string): Map<string, string> {
  // The library prints what it finds odd, with the file's text; errors it throws.
  const document: unknown = parseYaml(source, { logLevel: 'error' })
  const entries = new Map<string, string>()
  if (document === null || document === undefined) return entries
  if (typeof document !== 'object' || Array.isArray(document)) {
    throw new Error('expected a mapping of option names to values')
  }
  flatten('', document, entries)
  return entries
}

function flatten(prefix: string, mapping: object, entries: Map<string, string>): void {
  for (const [key, value] of Object.entries(mapping)) {
    const name = prefix === '' ? key : `${prefix}.${key}`
    if (value !== null && typeof value === 'object' && !Array.isArray(value)) {
      flatten(name, value, entries)
      continue
    }
    if (entries.has(name)) throw new Error(`${name} is set twice`)
    entries.set(name, Array.isArray(value) ? value.join(',') : String(value ?? ''))
  }
}

/** `NUM_PARTITIONS` → `num.partitions`: `_` is a dot, `__` an underscore, `___` a dash. */
export function optionNameOf(variable: string): string {
  return variable
    .toLowerCase()
    .replace(/_{1,3}/g, (run) => (run.length === 1 ? '.' : run.length === 2 ? '_' : '-'))
}

/** The variable that sets an option. */
export function variableNameOf(prefix: 'MILLRACE' | 'KAFKA', option: string): string {
  const body = option.replace(/[-_.]/g, (one) => (one === '.' ? '_' : one === '_' ? '__' : '___'))
  return `${prefix}_${body.toUpperCase()}`
}

/** `name=value` of a flag; null without '=' or without a name. */
export function parseAssignment(text: string): [name: string, value: string] | null {
  const at = text.indexOf('=')
  if (at < 1) return null
  return [text.slice(0, at).trim(), text.slice(at + 1).trim()]
}
