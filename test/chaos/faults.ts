/**
 * The faults: how each is drawn from a seed, struck and healed. One node at a time; every fault is
 * over after a bounded time, and the next one waits until the cluster has recovered from it.
 */
import type { Random } from '../../src/base/random.ts'
import type { Cluster } from './cluster.ts'

export const FAULT_KINDS = [
  /** kill -9, and a start after a while. */
  'kill',
  /** A stop in order, and a start. */
  'restart',
  /** SIGSTOP, SIGCONT. */
  'stop',
  /** The link is dead, both ways. */
  'cut',
  /** What the node sends is lost, and what it receives is not. */
  'mute',
  /** What is sent to the node is lost, and what it sends is not. */
  'deaf',
  /** The link is dead and is not, several times. */
  'flap',
  /** Some packets are lost, both ways. */
  'loss',
  /** The link to the node is narrow, and queues. */
  'narrow',
  /** The machine loses its power: what was not synced is gone. */
  'power',
  /** The disk fails under a broker that runs, which then is killed. */
  'dead-disk',
  /** What is written cannot be made durable; the broker then is killed. */
  'fsync',
  /** There is no room on the disk. */
  'full',
] as const

export type FaultKind = (typeof FAULT_KINDS)[number]

export interface Fault {
  readonly kind: FaultKind
  readonly node: number
  /** From the strike to the heal. */
  readonly ms: number
  /** Flaps: how long each state lasts. Loss: packets of a hundred. Narrow: kbit/s. */
  readonly amount: number
}

/** The shortest and the longest time that a fault lasts: beyond a broker's session, and within. */
const DURATIONS: Readonly<Record<FaultKind, readonly [minMs: number, maxMs: number]>> = {
  kill: [0, 2500],
  restart: [0, 500],
  stop: [100, 4000],
  cut: [100, 4000],
  mute: [100, 4000],
  deaf: [100, 4000],
  flap: [1000, 4000],
  loss: [500, 4000],
  narrow: [500, 4000],
  power: [0, 2500],
  'dead-disk': [0, 2500],
  fsync: [200, 3000],
  full: [500, 4000],
}

export function drawFault(random: Random, kind: FaultKind, nodes: number): Fault {
  const [minMs, maxMs] = DURATIONS[kind]
  const amounts: Partial<Record<FaultKind, readonly [number, number]>> = {
    flap: [50, 700],
    loss: [5, 40],
    narrow: [200, 2000],
  }
  const [min, max] = amounts[kind] ?? [0, 0]
  return {
    kind,
    node: random.between(1, nodes),
    ms: random.between(minMs, maxMs),
    amount: random.between(min, max),
  }
}

/** Each kind once in every round, in an order of the seed's. */
export function* drawFaults(
  random: Random,
  kinds: readonly FaultKind[],
  nodes: number,
): Generator<Fault, never> {
  for (;;) {
    const left = [...kinds]
    while (left.length > 0) {
      const [kind] = left.splice(random.below(left.length), 1) as [FaultKind]
      yield drawFault(random, kind, nodes)
    }
  }
}

export const sleep = (ms: number): Promise<void> => {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

/** Strikes, waits, heals. A node that had to be started serves when this resolves. */
export async function inflict(cluster: Cluster, fault: Fault): Promise<void> {
  const { kind, ms, amount } = fault
  const { network } = cluster
  const node = cluster.node(fault.node)
  const { id } = node
  switch (kind) {
    case 'kill':
      await node.kill()
      await sleep(ms)
      break
    case 'restart':
      await node.stop()
      await sleep(ms)
      break
    case 'stop':
      node.pause()
      await sleep(ms)
      node.resume()
      return
    case 'cut':
    case 'mute':
    case 'deaf':
      network.setLink(id, { kind })
      await sleep(ms)
      network.setLink(id, null)
      return
    case 'loss':
      network.setLink(id, { kind, percent: amount })
      await sleep(ms)
      network.setLink(id, null)
      return
    case 'flap':
      await flap(cluster, fault)
      return
    case 'narrow':
      network.setRate(id, amount)
      await sleep(ms)
      network.setRate(id, null)
      return
    case 'full':
      cluster.disk(id).fill()
      await sleep(ms)
      cluster.disk(id).empty()
      return
    default:
      await failDisk(cluster, fault)
  }
  node.start()
  await node.whenReady()
}

async function flap(cluster: Cluster, { node, ms, amount }: Fault): Promise<void> {
  for (let left = ms; left > 0; left -= 2 * amount) {
    cluster.network.setLink(node, { kind: 'cut' })
    await sleep(amount)
    cluster.network.setLink(node, null)
    await sleep(amount)
  }
}

/** What was in the page cache does not survive any of these. */
async function failDisk(cluster: Cluster, fault: Fault): Promise<void> {
  const node = cluster.node(fault.node)
  const disk = cluster.disk(fault.node)
  if (fault.kind === 'power') {
    node.pause() // So that it says nothing between the two.
    disk.cutPower()
    await node.kill()
    await sleep(fault.ms)
  } else {
    node.expectEnd()
    if (fault.kind === 'dead-disk') disk.cutPower()
    else disk.starve()
    await sleep(fault.ms)
    await node.kill()
  }
  if (fault.kind === 'fsync') {
    // As a machine that is switched off: what the device did not take is not written later.
    disk.cutPower()
    disk.feed()
  }
  await disk.unmount()
  disk.mount()
  node.rebootMachine()
}
