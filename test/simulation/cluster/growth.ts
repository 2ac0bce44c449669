/**
 * What a node holds while its cluster is at rest: it may not grow with the hours. Compared with
 * what the same process held when it was first looked at.
 */
import { require_ } from '../violation.ts'
import { SimTimer } from './platform.ts'
import type { Network } from './sim-network.ts'
import type { SimNode } from './sim-node.ts'
import type { World } from './sim-world.ts'

type Holding = Readonly<Record<string, number>>

/** As many more are chance: requests that are under way, a connection that was idle. */
const CHANCE = 25
/** Arenas lend blocks. */
const CHANCE_BYTES = 512 * 1024

interface First {
  readonly life: number
  readonly held: Holding
}

export class Growth {
  readonly #world: World
  readonly #network: Network
  readonly #first = new Map<SimNode, First>()

  constructor(world: World, network: Network) {
    this.#world = world
    this.#network = network
  }

  /** `filesMax`: open files of a node that has all segments which retention leaves. */
  look(nodes: readonly SimNode[], filesMax: number): void {
    const timers = new Map<number, number>()
    for (const owner of this.#world.clock.owners()) {
      if (!(owner instanceof SimTimer) || owner.isCancelled) continue
      timers.set(owner.hostId, (timers.get(owner.hostId) ?? 0) + 1)
    }
    for (const node of nodes) {
      if (!node.isServing) continue
      this.#lookAt(node, { timers: timers.get(node.id) ?? 0, ...this.#held(node) }, filesMax)
    }
  }

  #lookAt(node: SimNode, held: Holding, filesMax: number): void {
    for (const [what, count] of Object.entries(held)) this.#world.most(`${what} of a node`, count)
    require_(
      (held['open files'] ?? 0) <= filesMax,
      'open files are those of its segments',
      () => `node ${node.id}: ${held['open files']}, at most ${filesMax}`,
    )
    const first = this.#first.get(node)
    if (first === undefined || first.life !== node.host.life) {
      this.#first.set(node, { life: node.host.life, held })
      return
    }
    this.#world.count('growth: looks at a process that was looked at before')
    for (const [what, count] of Object.entries(held)) {
      if (what === 'open files') continue
      const before = first.held[what] ?? 0
      const chance = what.startsWith('bytes') ? CHANCE_BYTES : CHANCE
      require_(
        count <= before * 1.5 + chance,
        'what a node at rest holds does not grow',
        () => `node ${node.id}: ${what} ${count}, was ${before}`,
      )
    }
  }

  #held(node: SimNode): Holding {
    const { running, broker } = node
    let files = node.host.files?.files.openFiles ?? 0
    let lent = 0
    for (const unit of running?.shards.units ?? []) {
      files += unit.files.openFiles
      lent += unit.egress.bytesInUse
    }
    return {
      'open files': files,
      sockets: this.#network.socketsOf(node.host),
      'connections of clients': running?.kafka?.connectionCount ?? 0,
      'appends that wait': broker?.appendDeadlines.count ?? 0,
      'fetch sessions': broker?.fetchSessions.size ?? 0,
      'bytes of requests': broker?.arena.bytesInUse ?? 0,
      'bytes of what was read': lent,
    }
  }
}
