/**
 * Bar charts as SVG text: one bar a value with its range. Readable on light and dark pages. Pure.
 */
import { escaped } from './svg-text.ts'

export interface Bar {
  readonly label: string
  readonly value: number
  readonly min: number
  readonly max: number
  /** Bars of a class have one colour: `ours`, `peer` or `limit`. */
  readonly kind: 'ours' | 'peer' | 'limit'
  /** At the bar's end. */
  readonly text: string
}

export interface BarGroup {
  readonly title: string
  readonly bars: readonly Bar[]
}

export interface Chart {
  readonly title: string
  /** What the bars count, such as "GB/s (more is better)". */
  readonly unit: string
  readonly groups: readonly BarGroup[]
  /** A line across all bars: the target. */
  readonly mark?: number
}

const WIDTH = 760
const LABEL_WIDTH = 150
const TEXT_WIDTH = 130
const BAR_HEIGHT = 16
const GAP = 5
const GROUP_GAP = 26
const TOP = 56
const COLOURS = { ours: '#1f77b4', peer: '#d1495b', limit: '#8d99ae' } as const

/** Throws on a chart without a finite value. */
export function barChart(chart: Chart): string {
  const bars = chart.groups.flatMap((group) => group.bars)
  const top = Math.max(...bars.map((bar) => bar.max).filter(Number.isFinite), chart.mark ?? 0)
  if (!(top > 0)) throw new Error(`the chart "${chart.title}" has nothing to show`)
  const room = WIDTH - LABEL_WIDTH - TEXT_WIDTH
  const at = (value: number) => LABEL_WIDTH + (value / top) * room
  const parts: string[] = []
  let y = TOP
  for (const group of chart.groups) {
    parts.push(text(8, y + 11, group.title, 'group'))
    y += GROUP_GAP - 6
    for (const bar of group.bars) {
      parts.push(text(LABEL_WIDTH - 8, y + 12, bar.label, 'label', 'end'))
      if (Number.isFinite(bar.value)) {
        const fill = COLOURS[bar.kind]
        const width = round(at(bar.value) - LABEL_WIDTH)
        parts.push(
          `<rect x="${LABEL_WIDTH}" y="${y}" width="${width}" height="${BAR_HEIGHT}" fill="${fill}"/>`,
        )
        const middle = y + BAR_HEIGHT / 2
        if (bar.max > bar.min) parts.push(range(at(bar.min), at(bar.max), middle))
        parts.push(text(at(bar.max) + 8, y + 12, bar.text, 'value'))
      } else {
        parts.push(text(LABEL_WIDTH + 4, y + 12, 'not measured', 'value'))
      }
      y += BAR_HEIGHT + GAP
    }
    y += GROUP_GAP - GAP - 8
  }
  if (chart.mark !== undefined) {
    const x = round(at(chart.mark))
    parts.push(`<line class="mark" x1="${x}" x2="${x}" y1="${TOP - 4}" y2="${y - 12}"/>`)
    parts.push(text(x, TOP - 8, `target ${chart.mark}`, 'value', 'middle'))
  }
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${y}" width="${WIDTH}" height="${y}" role="img" aria-label="${escaped(chart.title)}">`,
    `<style>${STYLE}</style>`,
    `<rect class="page" width="${WIDTH}" height="${y}"/>`,
    text(8, 20, chart.title, 'title'),
    text(8, 38, chart.unit, 'unit'),
    ...parts,
    '</svg>',
    '',
  ].join('\n')
}

const STYLE =
  'text{font:12px system-ui,sans-serif;fill:#222}.title{font-size:15px;font-weight:600}' +
  '.unit,.value,.label{fill:#555}.group{font-weight:600}.page{fill:#fff}' +
  '.range{stroke:#222;stroke-width:1.5}.mark{stroke:#2a9d3a;stroke-width:1.5;stroke-dasharray:5 3}'

function range(from: number, to: number, y: number): string {
  const [a, b] = [round(from), round(to)]
  return `<path class="range" d="M${a} ${y - 4}v8M${a} ${y}H${b}M${b} ${y - 4}v8"/>`
}

function text(x: number, y: number, content: string, kind: string, anchor = 'start'): string {
  return `<text x="${round(x)}" y="${round(y)}" class="${kind}" text-anchor="${anchor}">${escaped(content)}</text>`
}

function round(value: number): number {
  return Math.round(value * 10) / 10
}
