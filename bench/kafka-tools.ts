/**
 * Kafka's own performance tools, the same jars, against Millrace and against Apache Kafka, forth
 * and back, in equal memory cgroups: ProducerPerformance, ConsumerPerformance, EndToEndLatency.
 * What they print is taken as it is; the broker's CPU time is measured beside it.
 */
import { spawn } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { projectFolder, reportPrefix } from './lib/broker.ts'
import { track } from './lib/children.ts'
import { installKafka, kafkaClassPath, kafkaVersion } from './lib/kafka-broker.ts'
import { describeMachine, machineLines } from './lib/machine.ts'
import { numberOption } from './lib/number-option.ts'
import { sampleProcess, useBetween } from './lib/process-sample.ts'
import { runBenchmark } from './lib/run-benchmark.ts'
import { formatSpread, markdownTable, spreadOf } from './lib/statistics.ts'
import { parseConsumer, parseEndToEnd, parseProducer, type ToolResult } from './lib/tool-output.ts'
import { profileFor } from './suite/profile.ts'
import type { TargetName } from './suite/rows.ts'
import { type RunningTarget, Targets } from './suite/targets.ts'

const USAGE = `npm run bench -- kafka-tools [--rounds 3] [--records 1000000] [--record-size 1000] [--pings 10000]
  [--memory-gb 4|0] [--out PREFIX]`

interface Tool {
  readonly name: string
  readonly main: string
  /** Arguments behind the address and the topic. */
  readonly args: readonly string[]
  readonly parse: (output: string) => ToolResult | null
}

interface Run {
  readonly tool: string
  readonly target: TargetName
  readonly round: number
  /** Null: the tool did not get to its end. */
  readonly result: ToolResult | null
  readonly brokerCpuSeconds: number
  readonly output: string
}

const TOOL_TIMEOUT_MS = 180_000

function toolsFor(values: { records: string; 'record-size': string; pings: string }): Tool[] {
  const producer = ['--num-records', values.records, '--record-size', values['record-size']]
  producer.push('--throughput', '-1', '--warmup-records', '200000')
  producer.push('--command-property', 'acks=1', 'linger.ms=5', 'batch.size=65536')
  const base = 'org.apache.kafka.tools'
  return [
    {
      name: 'ProducerPerformance',
      main: `${base}.ProducerPerformance`,
      args: producer,
      parse: parseProducer,
    },
    {
      name: 'ConsumerPerformance',
      main: `${base}.ConsumerPerformance`,
      args: ['--num-records', values.records, '--timeout', '10000'],
      parse: parseConsumer,
    },
    {
      name: 'EndToEndLatency',
      main: `${base}.EndToEndLatency`,
      args: ['--num-records', values.pings, '--producer-acks', '1', '--record-size', '100'],
      parse: parseEndToEnd,
    },
  ]
}

/** Everything the tool prints; its exit code says nothing that its last line does not. */
function runTool(tool: Tool, target: RunningTarget, topic: string): Promise<string> {
  const quiet = '-Dorg.slf4j.simpleLogger.defaultLogLevel=error'
  const args = ['-Xmx512M', quiet, '-cp', kafkaClassPath(), tool.main]
  args.push('--bootstrap-server', `127.0.0.1:${target.port}`, '--topic', topic, ...tool.args)
  const child = spawn('java', args, { stdio: ['ignore', 'pipe', 'pipe'] })
  track(child)
  const timer = setTimeout(() => child.kill('SIGKILL'), TOOL_TIMEOUT_MS)
  const chunks: string[] = []
  child.stdout.on('data', (chunk) => chunks.push(String(chunk)))
  child.stderr.on('data', (chunk) => chunks.push(String(chunk)))
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', () => {
      clearTimeout(timer)
      resolve(chunks.join(''))
    })
  })
}

function table(tool: string, runs: readonly Run[]): string {
  const mine = runs.filter((run) => run.tool === tool)
  const names = [...new Set(mine.flatMap(({ result }) => Object.keys(result ?? {})))]
  const rows = (['millrace', 'kafka'] as const).map((target) => {
    const of = mine.filter((run) => run.target === target)
    const good = of.filter(({ result }) => result !== null)
    return [
      target === 'kafka' ? 'Apache Kafka' : 'Millrace',
      `${good.length} of ${of.length}`,
      ...names.map((name) =>
        formatSpread(spreadOf(good.map(({ result }) => result?.[name] ?? Number.NaN))),
      ),
      formatSpread(spreadOf(of.map(({ brokerCpuSeconds }) => brokerCpuSeconds))),
    ]
  })
  return markdownTable(['', 'runs', ...names, 'broker CPU-s'], rows)
}

async function main(): Promise<void> {
  const text = (standard: string) => ({ type: 'string', default: standard }) as const
  const { values } = parseArgs({
    options: {
      help: { type: 'boolean' },
      rounds: text('3'),
      records: text('1000000'),
      'record-size': text('1000'),
      pings: text('10000'),
      'memory-gb': text('4'),
      out: text(reportPrefix('kafka-tools')),
    },
  })
  if (values.help === true) {
    process.stdout.write(`${USAGE}\n`)
    return
  }
  const count = { low: 1, high: 1e9, whole: true }
  const rounds = numberOption(values.rounds, 'rounds', { ...count, high: 100 })
  for (const name of ['records', 'record-size', 'pings'] as const) {
    numberOption(values[name], name, count)
  }
  const memory = numberOption(values['memory-gb'], 'memory-gb', { low: 0, high: 10_000 })
  installKafka()
  const dataParent = join(projectFolder(), '.cache', 'bench')
  mkdirSync(dataParent, { recursive: true })
  const machine = describeMachine(dataParent)
  const profile = profileFor(machine.cores)
  const targets = new Targets({
    memoryBytes: memory > 0 ? memory * 2 ** 30 : null,
    cgroupParent: undefined,
    dataParent,
    shards: profile.shards,
    settings: [],
    nodeArgs: [],
    main: undefined,
    beforeMain: undefined,
    cpus: profile.targetCpus ?? undefined,
    kafkaThreads: profile.kafkaThreads,
  })
  const tools = toolsFor(values)
  const runs: Run[] = []
  try {
    for (let round = 0; round < rounds; round++) {
      const order: TargetName[] = round % 2 === 0 ? ['millrace', 'kafka'] : ['kafka', 'millrace']
      for (const name of order) {
        const target = await targets.get(name, 1)
        for (const tool of tools) {
          const isEndToEnd = tool.name === 'EndToEndLatency'
          const topic = `${isEndToEnd ? 'pings' : 'events'}-${round}`
          const before = sampleProcess(target.pid)
          const output = await runTool(tool, target, topic)
          const use = useBetween(before, sampleProcess(target.pid), target.pid)
          const result = tool.parse(output)
          const brokerCpuSeconds = use.cpuSeconds
          runs.push({ tool: tool.name, target: name, round, result, brokerCpuSeconds, output })
          const said = result === null ? 'no result' : JSON.stringify(result)
          process.stderr.write(`  ${round + 1} ${name.padEnd(8)} ${tool.name}: ${said}\n`)
        }
      }
    }
  } finally {
    await targets.stopAll()
  }
  const sections = tools.flatMap(({ name, args }) => [
    `### ${name}`,
    '',
    `\`${args.join(' ')}\``,
    '',
    table(name, runs),
    '',
  ])
  const head = [
    ...machineLines(machine),
    `- Apache Kafka ${kafkaVersion()}; a topic has 1 partition`,
  ]
  const report = [...head, '', ...sections].join('\n')
  writeFileSync(`${values.out}.md`, report)
  writeFileSync(`${values.out}.json`, `${JSON.stringify({ machine, options: values, runs })}\n`)
  process.stdout.write(report)
}

await runBenchmark(USAGE, main)
