/**
 * Flame graphs as SVG text, of V8's CPU profiles: a box a function below those that called it, as
 * wide as the time that it and what it called took. Hovering shows names and shares. Pure.
 */
import { escaped } from './svg-text.ts'

/** What `--cpu-prof` writes, as far as it is used. */
export interface CpuProfile {
  readonly nodes: readonly ProfileNode[]
  /** Node ids, one a sample. */
  readonly samples: readonly number[]
  /** Microseconds before each sample. */
  readonly timeDeltas: readonly number[]
}

export interface ProfileNode {
  readonly id: number
  readonly callFrame: {
    readonly functionName: string
    readonly url: string
    /** From 0. */
    readonly lineNumber: number
  }
  readonly children?: readonly number[]
}

/** A function in its place: by the functions that called it. */
interface Frame {
  readonly name: string
  readonly kind: Kind
  selfMicros: number
  totalMicros: number
  readonly callees: Map<string, Frame>
}

type Kind = 'ours' | 'package' | 'node' | 'engine' | 'native'

const WIDTH = 1200
const ROW_HEIGHT = 16
const TOP = 48
/** Narrower boxes are left out. */
const WIDTH_MIN = 0.4
const CHAR_WIDTH = 6.3
/** Deeper calls are left out; their time is that of the last one shown. */
const DEPTH_MAX = 60
const COLOURS: Readonly<Record<Kind, string>> = {
  ours: '#e8833a',
  package: '#c9a227',
  node: '#6a9fb5',
  engine: '#8d99ae',
  native: '#a05195',
}
const MEANING: Readonly<Record<Kind, string>> = {
  ours: 'Millrace',
  package: 'packages',
  node: 'Node',
  engine: 'V8 and waiting for others',
  native: 'native and generated code',
}

/**
 * `idle` time is left out: the graph is of what the thread did. Throws on a profile in which the
 * thread did nothing.
 */
export function flameGraph(profile: CpuProfile, title: string): string {
  const root = treeOf(profile)
  if (root.totalMicros <= 0) throw new Error(`"${title}": the thread did nothing`)
  const boxes: string[] = []
  const depth = draw(root, { x: 0, depth: 0, all: root.totalMicros }, boxes)
  const height = TOP + (depth + 1) * ROW_HEIGHT + 28
  const idleMicros = sumOf(profile.timeDeltas) - root.totalMicros
  const seconds = (micros: number): string => (micros / 1e6).toFixed(2)
  const about = `${seconds(root.totalMicros)} s of work; idle for ${seconds(idleMicros)} s`
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-label="${escaped(title)}">`,
    `<style>${STYLE}</style>`,
    `<rect class="page" width="${WIDTH}" height="${height}"/>`,
    `<text x="8" y="20" class="title">${escaped(title)}</text>`,
    `<text x="8" y="38">${about}</text>`,
    ...boxes,
    ...legend(height - 12),
    '</svg>',
    '',
  ].join('\n')
}

function treeOf({ nodes, samples, timeDeltas }: CpuProfile): Frame {
  const selfMicros = new Map<number, number>()
  for (const [i, id] of samples.entries()) {
    selfMicros.set(id, (selfMicros.get(id) ?? 0) + Math.max(0, timeDeltas[i] ?? 0))
  }
  const byId = new Map(nodes.map((node) => [node.id, node]))
  const root = frameOf('all', 'engine')
  const [first] = nodes
  if (first === undefined) return root
  // Without recursion: a profile may be thousands of calls deep.
  const open: { node: ProfileNode; into: Frame }[] = [{ node: first, into: root }]
  const order: { frame: Frame; caller: Frame | null }[] = [{ frame: root, caller: null }]
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    for (const id of next.node.children ?? []) {
      const node = byId.get(id)
      if (node === undefined || node.callFrame.functionName === '(idle)') continue
      const name = nameOf(node)
      let frame = next.into.callees.get(name)
      if (frame === undefined) {
        frame = frameOf(name, kindOf(node))
        next.into.callees.set(name, frame)
        order.push({ frame, caller: next.into })
      }
      frame.selfMicros += selfMicros.get(id) ?? 0
      open.push({ node, into: frame })
    }
  }
  for (const { frame, caller } of order.toReversed()) {
    frame.totalMicros += frame.selfMicros
    if (caller !== null) caller.totalMicros += frame.totalMicros
  }
  return root
}

function frameOf(name: string, kind: Kind): Frame {
  return { name, kind, selfMicros: 0, totalMicros: 0, callees: new Map() }
}

function nameOf({ callFrame: { functionName, url, lineNumber } }: ProfileNode): string {
  const name = functionName === '' ? '(anonymous)' : functionName
  if (url === '') return name
  return `${name} ${url.slice(url.lastIndexOf('/') + 1)}:${lineNumber + 1}`
}

function kindOf({ callFrame: { functionName, url } }: ProfileNode): Kind {
  if (url.startsWith('node:')) return 'node'
  if (url.includes('/node_modules/')) return 'package'
  if (url !== '') return 'ours'
  return functionName.startsWith('(') ? 'engine' : 'native'
}

/** The largest first. Returns how deep it got. */
function draw(
  frame: Frame,
  at: { readonly x: number; readonly depth: number; readonly all: number },
  boxes: string[],
): number {
  const width = (frame.totalMicros / at.all) * WIDTH
  if (width < WIDTH_MIN) return at.depth - 1
  boxes.push(box(frame, { ...at, width }))
  let deepest = at.depth
  if (at.depth === DEPTH_MAX) return deepest
  let { x } = at
  for (const callee of [...frame.callees.values()].sort((a, b) => b.totalMicros - a.totalMicros)) {
    deepest = Math.max(deepest, draw(callee, { ...at, x, depth: at.depth + 1 }, boxes))
    x += (callee.totalMicros / at.all) * WIDTH
  }
  return deepest
}

function box(
  { name, kind, selfMicros, totalMicros }: Frame,
  at: { x: number; depth: number; all: number; width: number },
): string {
  const y = TOP + at.depth * ROW_HEIGHT
  const share = (micros: number): string => `${((micros / at.all) * 100).toFixed(1)} %`
  const hint = `${name}: ${share(totalMicros)}, itself ${share(selfMicros)}`
  const room = Math.floor((at.width - 4) / CHAR_WIDTH)
  const label = room < 3 ? '' : name.slice(0, room)
  const [x, width] = [at.x.toFixed(1), Math.max(0.3, at.width - 0.4).toFixed(1)]
  const rect = `<rect x="${x}" y="${y}" width="${width}" height="${ROW_HEIGHT - 1}" fill="${COLOURS[kind]}"/>`
  const text =
    label === ''
      ? ''
      : `<text x="${(at.x + 2).toFixed(1)}" y="${y + 11}" class="box">${escaped(label)}</text>`
  return `<g><title>${escaped(hint)}</title>${rect}${text}</g>`
}

function legend(y: number): string[] {
  return Object.entries(MEANING).map(([kind, meaning], i) => {
    const x = 8 + i * 190
    const fill = COLOURS[kind as Kind]
    return `<rect x="${x}" y="${y - 9}" width="10" height="10" fill="${fill}"/><text x="${x + 15}" y="${y}">${meaning}</text>`
  })
}

function sumOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + Math.max(0, value), 0)
}

const STYLE = [
  'text{font:11px ui-monospace,monospace;fill:#222}',
  '.title{font-size:14px;font-weight:bold}',
  '.page{fill:#fff}',
  '.box{font-size:10.5px;fill:#111}',
].join('')
