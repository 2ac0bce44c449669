import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { barChart } from '../../bench/lib/chart.ts'
import { parseSuiteOptions, UsageError } from '../../bench/suite/options.ts'
import { parseProfile, profileFor } from '../../bench/suite/profile.ts'
import { type Cell, orderOf, ROWS, requestRate } from '../../bench/suite/rows.ts'
import type { CellRun } from '../../bench/suite/run-cell.ts'
import { RunStore } from '../../bench/suite/store.ts'
import { Summary, verdictsOf } from '../../bench/suite/summary.ts'
import { BatchBuilder } from '../../src/record/batch-builder.ts'
import { run } from './fixtures.ts'

const cells = ROWS.flatMap((row) => row.cells)

function cellRun(cell: string, target: CellRun['target'], change: Partial<CellRun> = {}): CellRun {
  const { load, use } = run(target, 1, { main: 1 })
  const memory = { residentBytes: 1, residentPeakBytes: 2, groupPeakBytes: null }
  return { cell, target, round: 0, load, use, fetch: null, problem: null, ...memory, ...change }
}

/** CPU-seconds for the one gigabyte of the fixture. */
function costing(seconds: number): Pick<CellRun, 'load' | 'use'> {
  const { load, use } = run('millrace', 1, { main: seconds })
  return { load, use }
}

test('every cell has a name of its own and a rate that can be known', () => {
  assert.equal(new Set(cells.map(({ name }) => name)).size, cells.length)
  for (const { name, rate } of cells) {
    if (rate === undefined || !('shareOf' in rate)) continue
    const base = cells.findIndex((cell) => cell.name === rate.shareOf)
    const mine = cells.findIndex((cell) => cell.name === name)
    assert.ok(base >= 0 && base < mine, `${name} refers to ${rate.shareOf}, which must come first`)
  }
})

test('a batch of every cell fits what Kafka takes by default', () => {
  const sizes = new Map(cells.map((cell) => [`${cell.eventBytes} ${cell.eventsPerRequest}`, cell]))
  for (const { name, eventBytes, eventsPerRequest } of sizes.values()) {
    const builder = new BatchBuilder()
    const value = new Uint8Array(eventBytes)
    for (let i = 0; i < eventsPerRequest; i++) builder.append(1_700_000_000_000, null, value)
    assert.ok(builder.buildSync().length <= 1_048_588, name)
  }
})

test('orderOf goes forth and back', () => {
  assert.deepEqual(orderOf(['millrace', 'kafka', 'limit'], 0), ['millrace', 'kafka', 'limit'])
  assert.deepEqual(orderOf(['millrace', 'kafka', 'limit'], 1), ['limit', 'kafka', 'millrace'])
})

test('requestRate counts events, or a share of what the target reached', () => {
  const of = (rate: Cell['rate']): Cell => ({ ...(cells[0] as Cell), rate, eventsPerRequest: 50 })
  assert.equal(requestRate(of({ eventsPerSecond: 1000 }), undefined), 20)
  assert.equal(requestRate(of({ shareOf: 'd-closed', share: 0.5 }), 900), 450)
  assert.equal(requestRate(of({ shareOf: 'd-closed', share: 0.5 }), undefined), undefined)
})

test('a target is met, missed or not measured', () => {
  const runs = [
    cellRun('a-64k', 'millrace', costing(1)),
    cellRun('a-64k', 'kafka', costing(4)),
    cellRun('a-1m', 'millrace', costing(2)),
    cellRun('a-1m', 'kafka', costing(4)),
  ]
  const verdicts = verdictsOf(new Summary(runs), ['a', 'b'])
  const of = (what: string) => verdicts.find((one) => one.what === what)
  assert.equal(of('64 KiB: CPU-s/GB ÷ Kafka’s')?.isMet, true)
  assert.equal(of('1 MB: CPU-s/GB ÷ Kafka’s')?.isMet, false)
  assert.equal(of('64 KiB: GB/s ÷ the limit’s')?.isMet, null)
  assert.equal(of('TCP: million events/s')?.isMet, null)
  assert.ok(verdicts.every(({ row }) => row === 'a' || row === 'b'))
})

test('a run that does not count is in no number', () => {
  const bad = cellRun('a-64k', 'millrace', { ...costing(100), problem: 'events are missing' })
  const summary = new Summary([cellRun('a-64k', 'millrace', costing(1)), bad])
  assert.equal(summary.median('a-64k', 'millrace', 'cpuPerGigabyte'), 1)
})

test('the store goes on where it stopped, with a last line that was cut, under equal conditions', () => {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-store-'))
  try {
    const conditions = { commit: 'abc', seconds: 1, memoryBytes: null, profile: 'p', how: {} }
    const cell = cells[0] as Cell
    const first = new RunStore(folder, conditions, false)
    first.add(cellRun(cell.name, 'millrace'))
    const file = join(folder, 'runs.ndjson')
    writeFileSync(file, `${readFileSync(file, 'utf8')}{"cell":"a-64`)
    const second = new RunStore(folder, conditions, true)
    assert.equal(second.runs.length, 1)
    assert.equal(second.has(cell, 'millrace', 0), true)
    assert.equal(second.has(cell, 'kafka', 0), false)
    assert.throws(() => new RunStore(folder, { ...conditions, commit: 'def' }, true), /conditions/)
    assert.equal(new RunStore(folder, conditions, false).runs.length, 0)
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('profiles share the cores out, and bad ones say what is wrong', () => {
  assert.equal(profileFor(2).targetCpus, null)
  const many = profileFor(16)
  assert.deepEqual(
    [many.shards, many.targetCpus, many.loadCpus, many.kafkaThreads],
    [11, '0-11', '12-15', 12],
  )
  const example = readFileSync(new URL(profileFile(), import.meta.url), 'utf8')
  assert.equal(typeof parseProfile(example), 'object')
  assert.match(String(parseProfile('{')), /JSON/)
  assert.match(String(parseProfile('{"name":"x","shards":0}')), /shards/)
  assert.match(String(parseProfile('{"name":"x","shards":1,"cpus":1}')), /does not know cpus/)
  assert.match(String(parseProfile('{"name":"x","shards":1,"loadCpus":"1;rm"}')), /loadCpus/)
})

/** Seen from build/test/bench as from test/bench. */
function profileFile(): string {
  const isCompiled = import.meta.url.includes('/build/')
  return `${isCompiled ? '../../../' : '../../'}bench/profiles/nvme-16-cores.json`
}

test('options: what is wrong is said', () => {
  assert.equal(parseSuiteOptions(['--quick']).rounds, 3)
  assert.deepEqual(parseSuiteOptions(['--rows', 'd,e']).rows, ['d', 'e'])
  for (const argv of [
    ['--suite', 'none'],
    ['--rows', 'z'],
    ['--rows', 'd', '--cells', 'a-64k'],
    ['--rounds', '1.5'],
    ['--memory', '1M'],
    ['--nonsense'],
  ]) {
    assert.throws(() => parseSuiteOptions(argv), UsageError, argv.join(' '))
  }
})

test('barChart draws a bar a value and escapes what it is given', () => {
  const bar = { label: 'a<b', value: 2, min: 1, max: 3, kind: 'ours', text: '2' } as const
  const none = { ...bar, label: 'none', value: Number.NaN, min: Number.NaN, max: Number.NaN }
  const svg = barChart({ title: 't', unit: 'u', groups: [{ title: 'g', bars: [bar, none] }] })
  assert.equal(svg.match(/fill="#1f77b4"/g)?.length, 1)
  assert.match(svg, /a&#60;b/)
  assert.match(svg, /not measured/)
  assert.throws(() => barChart({ title: 't', unit: 'u', groups: [] }), /nothing to show/)
})
