/** What the commands under `millrace cluster` share. */
import { createInterface } from 'node:readline/promises'
import { InvalidArgumentError } from 'commander'
import type { KafkaAdmin } from '../client/kafka-admin.ts'
import { KafkaCluster } from '../client/kafka-cluster.ts'
import { CommandError } from './command-error.ts'
import { type Shared, withAdmin } from './kafka-command.ts'

const BAR_CELLS = 16

export async function withCluster(
  options: Shared,
  action: (cluster: KafkaCluster) => Promise<void>,
): Promise<void> {
  await withAdmin(options, (admin) => action(clusterOf(admin)))
}

export function clusterOf(admin: KafkaAdmin): KafkaCluster {
  return new KafkaCluster(admin.connection, admin.options.timeoutMs)
}

/** The id of a node. */
export function nodeId(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('Expected the id of a node.')
  return Number(text)
}

export function nodeIds(text: string): number[] {
  const ids = text.split(',').map((one) => nodeId(one.trim()))
  if (new Set(ids).size < ids.length) throw new InvalidArgumentError('A node is named twice.')
  return ids
}

/** A share of the largest as something to look at; '' where there is none. */
export function bar(value: number, max: number): string {
  const cells = max === 0 ? 0 : Math.round((value / max) * BAR_CELLS)
  return `${'█'.repeat(cells)}${'░'.repeat(BAR_CELLS - cells)}`
}

/** `1 partition`, `2 partitions`. */
export function counted(count: number, noun: string): string {
  return `${count.toLocaleString('en-US')} ${noun}${count === 1 ? '' : 's'}`
}

/** The first few of many. */
export function some(names: readonly string[], max = 5): string {
  const more = names.length - max
  return more <= 0 ? names.join(', ') : `${names.slice(0, max).join(', ')} and ${more} more`
}

/** Throws CommandError unless somebody at a terminal agrees. */
export async function agree(question: string): Promise<void> {
  if (!process.stdin.isTTY || !process.stderr.isTTY) {
    throw new CommandError(`${question} Say --yes: there is no terminal to ask at`)
  }
  const prompt = createInterface({ input: process.stdin, output: process.stderr })
  try {
    const answer = await prompt.question(`${question} [y/N] `)
    if (!/^y(es)?$/i.test(answer.trim())) throw new CommandError('nothing was changed')
  } finally {
    prompt.close()
  }
}
