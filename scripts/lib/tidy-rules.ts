/**
 * The checks behind `scripts/tidy.ts`: pure functions from sources to findings. What is allowed is
 * data that the caller hands over; nothing here knows the project.
 *
 * Sources are read as text, not parsed: the formatter puts every import at the start of a line,
 * which is what the patterns below rely on.
 */

/** Path from the project's folder, with forward slashes → source text. */
export type Sources = ReadonlyMap<string, string>

export interface Finding {
  readonly path: string
  /** 1-based; 0 when it is about the whole file. */
  readonly line: number
  readonly message: string
  /** A warning fails nothing. */
  readonly severity: 'error' | 'warning'
}

export interface ImportRule {
  /** Folders of src (besides `everywhere`) that the folder may import. */
  readonly allowed: readonly string[]
  /** Why, where the folder needs more than the table of the architecture gives. */
  readonly because?: string
}

export interface Rules {
  /** By folder of src; files directly in src go by their own name, `main.ts`. */
  readonly imports: Readonly<Record<string, ImportRule>>
  /** Folders of src that every folder may import. */
  readonly everywhere: readonly string[]
  /** Folders of src without `node:` modules: clock, randomness, disk and network are arguments. */
  readonly pureFolders: readonly string[]
  /** Files of pure folders that may use some `node:` modules, and why. */
  readonly nodeAllowed: Readonly<Record<string, { modules: readonly string[]; because: string }>>
  /** The one file that may load the addon. */
  readonly addonLoader: string
  readonly linesWarned: number
  readonly linesMax: number
  readonly columnsMax: number
}

interface Import {
  readonly specifier: string
  readonly line: number
}

const IMPORTS = [
  /^(?:import|export) (?:type )?[\w$*{}, \r\n]*? ?from ['"]([^'"\n]+)['"]/gm,
  /^import ['"]([^'"\n]+)['"]/gm,
  /\bimport\(\s*['"]([^'"\n]+)['"]/g,
]

/** Every import of a source: static, for types only, re-exported, for side effects, dynamic. */
export function importsOf(source: string): Import[] {
  const found: Import[] = []
  for (const pattern of IMPORTS) {
    for (const match of source.matchAll(pattern)) {
      found.push({ specifier: match[1] as string, line: lineAt(source, match.index) })
    }
  }
  return found.sort((a, b) => a.line - b.line)
}

function lineAt(source: string, index: number): number {
  let line = 1
  for (let at = source.indexOf('\n'); at !== -1 && at < index; at = source.indexOf('\n', at + 1)) {
    line++
  }
  return line
}

/** The path that a relative import names, from the project's folder; null for a package. */
export function resolveImport(from: string, specifier: string): string | null {
  if (!specifier.startsWith('.')) return null
  const parts = from.split('/').slice(0, -1)
  for (const part of specifier.split('/')) {
    if (part === '..') parts.pop()
    else if (part !== '.') parts.push(part)
  }
  return parts.join('/')
}

/** The folder of src that a path belongs to, a file's own name directly in src, else null. */
export function folderOf(path: string): string | null {
  const [top, folder] = path.split('/')
  return top === 'src' && folder !== undefined ? folder : null
}

/** Every finding, by path and line. */
export function checkSources(sources: Sources, rules: Rules): Finding[] {
  const findings: Finding[] = []
  for (const [path, source] of sources) {
    findings.push(...checkImports(path, source, sources, rules))
    findings.push(...checkText(path, source, rules))
  }
  findings.push(...checkUnusedAllowances(sources, rules))
  findings.push(...findCycles(sources))
  return findings.sort((a, b) => (a.path === b.path ? a.line - b.line : a.path < b.path ? -1 : 1))
}

function error(path: string, line: number, message: string): Finding {
  return { path, line, message, severity: 'error' }
}

function checkImports(path: string, source: string, sources: Sources, rules: Rules): Finding[] {
  const findings: Finding[] = []
  const folder = folderOf(path)
  if (folder !== null && rules.imports[folder] === undefined) {
    findings.push(error(path, 0, `src/${folder} is not in the import table`))
  }
  for (const { specifier, line } of importsOf(source)) {
    const target = resolveImport(path, specifier)
    if (target === null) {
      if (specifier.startsWith('node:') && !mayUseNode(path, specifier, rules)) {
        findings.push(error(path, line, `src/${folder} is pure and may not import ${specifier}`))
      }
      continue
    }
    if (!sources.has(target)) {
      const hint = target.endsWith('.ts') || target.endsWith('.mjs') ? '' : ' (say the extension)'
      findings.push(error(path, line, `imports ${target}, which does not exist${hint}`))
      continue
    }
    const reason = refusal(folder, target, rules)
    if (reason !== null) findings.push(error(path, line, reason))
  }
  if (folder !== null && path !== rules.addonLoader)
    findings.push(...checkAddon(path, source, rules))
  return findings
}

/** Why `folder` may not import `target`, or null. */
function refusal(folder: string | null, target: string, rules: Rules): string | null {
  if (folder === null) return null // Tests, scripts and benchmarks may import everything.
  const targetFolder = folderOf(target)
  if (targetFolder === null) return `src never imports ${target.split('/')[0]}/ (${target})`
  if (targetFolder === folder) return null
  const allowed = rules.imports[folder]?.allowed ?? []
  if (allowed.includes(targetFolder)) return null
  // The folders below all others do not import each other unless the table says so.
  if (!rules.everywhere.includes(folder) && rules.everywhere.includes(targetFolder)) return null
  return `src/${folder} may not import src/${targetFolder}`
}

function mayUseNode(path: string, specifier: string, rules: Rules): boolean {
  const folder = folderOf(path)
  if (folder === null || !rules.pureFolders.includes(folder)) return true
  return rules.nodeAllowed[path]?.modules.includes(specifier) === true
}

function checkAddon(path: string, source: string, rules: Rules): Finding[] {
  const match = /\.node['"`]|process\.dlopen/.exec(source)
  if (match === null) return []
  return [error(path, lineAt(source, match.index), `only ${rules.addonLoader} loads the addon`)]
}

/** An exception that nothing needs any more would let something else through. */
function checkUnusedAllowances(sources: Sources, rules: Rules): Finding[] {
  const findings: Finding[] = []
  for (const [path, { modules }] of Object.entries(rules.nodeAllowed)) {
    const source = sources.get(path)
    if (source === undefined) continue
    const used = importsOf(source).map((one) => one.specifier)
    for (const name of modules) {
      if (used.includes(name)) continue
      findings.push(error(path, 0, `no longer imports ${name}: take it off tidy's list`))
    }
  }
  return findings
}

function checkText(path: string, source: string, rules: Rules): Finding[] {
  const findings: Finding[] = []
  const lines = source.split('\n')
  if (lines.at(-1) === '') lines.pop()
  if (lines.length > rules.linesMax) {
    findings.push(error(path, 0, `${lines.length} lines; at most ${rules.linesMax}: split it`))
  } else if (lines.length > rules.linesWarned) {
    const message = `${lines.length} lines; more than ${rules.linesWarned} want a reason`
    findings.push({ path, line: 0, message, severity: 'warning' })
  }
  lines.forEach((line, index) => {
    const columns = [...line].length
    // Code is the formatter's business: it leaves a line long only where a string cannot be cut.
    if (columns <= rules.columnsMax || !/^\s*(\/?\*|\/\/)/.test(line)) return
    if (/https?:\/\//.test(line)) return
    findings.push(error(path, index + 1, `${columns} columns; at most ${rules.columnsMax}`))
  })
  const isTest = path.endsWith('.test.ts')
  if (!isTest && !path.endsWith('.d.ts') && !hasHeadComment(source)) {
    findings.push(error(path, 1, 'no comment at its head that says what it owns'))
  }
  if (isTest) {
    const only = /\b(?:test|it|describe|suite)\.only\(|\bonly: true\b/.exec(source)
    if (only !== null) {
      findings.push(error(path, lineAt(source, only.index), 'runs only this test: take it out'))
    }
  }
  return findings
}

/** A comment stands before everything, or directly behind the first imports. */
export function hasHeadComment(source: string): boolean {
  let rest = source.replace(/^#!.*\n/, '').trimStart()
  for (;;) {
    if (rest.startsWith('/*') || rest.startsWith('//')) return true
    const next = /^import [^'"]*['"][^'"]*['"];?/.exec(rest)
    if (next === null) return false
    rest = rest.slice(next[0].length).trimStart()
  }
}

/**
 * Cycles among the files, type imports included: one finding for each group of files that reach
 * each other, with a shortest cycle through its first file.
 */
export function findCycles(sources: Sources): Finding[] {
  const edges = new Map<string, string[]>()
  for (const [path, source] of sources) {
    const targets = importsOf(source)
      .map(({ specifier }) => resolveImport(path, specifier))
      .filter((target): target is string => target !== null && sources.has(target))
    edges.set(path, [...new Set(targets)].sort())
  }
  const findings: Finding[] = []
  const reported = new Set<string>()
  for (const path of [...edges.keys()].sort()) {
    if (reported.has(path)) continue
    const cycle = shortestCycle(path, edges)
    if (cycle === null) continue
    for (const member of cycle) reported.add(member)
    findings.push(error(path, 0, `import cycle: ${[...cycle, path].join(' → ')}`))
  }
  return findings
}

/** The files from `start` back to (and without) itself, by breadth-first search. */
function shortestCycle(start: string, edges: ReadonlyMap<string, string[]>): string[] | null {
  const cameFrom = new Map<string, string>()
  const queue = [start]
  for (const path of queue) {
    for (const target of edges.get(path) ?? []) {
      if (target === start) {
        const cycle: string[] = []
        for (let at = path; at !== start; at = cameFrom.get(at) as string) cycle.unshift(at)
        return [start, ...cycle]
      }
      if (cameFrom.has(target)) continue
      cameFrom.set(target, path)
      queue.push(target)
    }
  }
  return null
}

/** `path:line: message`, one line each. */
export function formatFinding({ path, line, message, severity }: Finding): string {
  const where = line === 0 ? path : `${path}:${line}`
  return `${where}: ${severity === 'warning' ? 'warning: ' : ''}${message}`
}
