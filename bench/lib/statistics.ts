/**
 * The few statistics that the benchmarks report, and how numbers are written. Pure.
 */

export interface Spread {
  readonly median: number
  readonly min: number
  readonly max: number
  readonly count: number
}

/** The middle value; the mean of the two middle ones of an even count. NaN of nothing. */
export function median(values: readonly number[]): number {
  if (values.length === 0) return Number.NaN
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle] as number
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] as number) + upper) / 2
}

export function spreadOf(values: readonly number[]): Spread {
  return {
    median: median(values),
    min: values.length === 0 ? Number.NaN : Math.min(...values),
    max: values.length === 0 ? Number.NaN : Math.max(...values),
    count: values.length,
  }
}

/** `value / base`; NaN when there is nothing to compare with. */
export function ratio(value: number, base: number): number {
  return base > 0 ? value / base : Number.NaN
}

/** Three significant digits without an exponent; a dash for what is not a number. */
export function formatNumber(value: number): string {
  if (!Number.isFinite(value)) return '–'
  const size = Math.abs(value)
  if (size === 0) return '0'
  if (size >= 100) return Math.round(value).toLocaleString('en-US')
  return value.toFixed(Math.min(6, Math.max(0, 2 - Math.floor(Math.log10(size)))))
}

/** "median (min–max)"; the range is left out when all values are equal. */
export function formatSpread(spread: Spread): string {
  if (spread.count <= 1 || spread.min === spread.max) return formatNumber(spread.median)
  const { median: middle, min, max } = spread
  return `${formatNumber(middle)} (${formatNumber(min)}–${formatNumber(max)})`
}

/** A Markdown table; the first column is text, the others are numbers. */
export function markdownTable(
  head: readonly string[],
  rows: readonly (readonly string[])[],
): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`
  const rule = head.map((_, index) => (index === 0 ? '---' : '---:'))
  return [line(head), line(rule), ...rows.map(line)].join('\n')
}

/** "4G", "512M", "1.5g" or a plain number, as bytes (powers of 1024). Undefined: no such size. */
export function parseBytes(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)([kmgt]?)(?:i?b)?$/i.exec(text.trim())
  if (match === null) return undefined
  const power = ' kmgt'.indexOf((match[2] || ' ').toLowerCase())
  return Math.round(Number(match[1]) * 1024 ** power)
}
