/**
 * One file of the simulated disk: the bytes that processes see, the bytes that are durable, and
 * which sectors differ. Part of sim-disk.ts; knows nothing of names and processes.
 */
import type { Random } from '../../src/base/random.ts'
import type { DiskPlan } from './disk-plan.ts'

/** A flush under way: the sectors as they were when it started. */
export interface Flight {
  readonly sectors: Map<number, Uint8Array>
  readonly size: number
}

export class FileNode {
  readonly sectorBytes: number
  content = new Uint8Array(256)
  size = 0
  durable = new Uint8Array(256)
  durableSize = 0
  /** Sectors that no flush covers yet. */
  readonly dirty = new Set<number>()
  /** Sectors that a failed flush marked clean. */
  readonly lost = new Set<number>()
  readonly flights: Flight[] = []
  /** Counts changes of what processes see: who has looked at it need not look again. */
  version = 0
  /** Wall clock; survives everything. */
  modifiedMs = 0

  constructor(sectorBytes: number) {
    this.sectorBytes = sectorBytes
  }

  /** What processes see is on the platter. */
  get isClean(): boolean {
    return this.dirty.size + this.lost.size + this.flights.length === 0
  }

  /** A bit of a clean file turns over; returns what the byte is now. */
  flip(position: number, bit: number): number {
    const value = (this.content[position] as number) ^ (1 << bit)
    this.content[position] = value
    this.durable[position] = value
    return value
  }

  write(position: number, bytes: Uint8Array): void {
    const end = position + bytes.length
    this.version++
    this.content = withRoom(this.content, end)
    this.content.set(bytes, position)
    this.#touch(position, end)
    if (end > this.size) this.size = end
  }

  truncate(bytes: number): void {
    this.version++
    this.content = withRoom(this.content, bytes)
    if (bytes < this.size) {
      this.content.fill(0, bytes, this.size)
      this.#touch(bytes, this.size)
    }
    this.size = bytes
  }

  startFlight(): Flight {
    const sectors = new Map<number, Uint8Array>()
    for (const sector of this.dirty) sectors.set(sector, this.#sector(this.content, sector).slice())
    this.dirty.clear()
    const flight = { sectors, size: this.size }
    this.flights.push(flight)
    return flight
  }

  /** The flight has landed; so have all that started before it. */
  land(flight: Flight): void {
    for (;;) {
      const first = this.flights.shift()
      if (first === undefined) return
      for (const [sector, bytes] of first.sectors) this.#persist(sector, bytes)
      this.#setDurableSize(first.size)
      if (first === flight) return
    }
  }

  /** The flight failed: part of it is durable, all of it counts as clean. */
  drop(flight: Flight, random: Random): void {
    const index = this.flights.indexOf(flight)
    if (index < 0) return // It landed with a later one.
    this.flights.splice(index, 1)
    const keep = random.pick([0, 0, 0.5])
    for (const [sector, bytes] of flight.sectors) {
      if (random.chance(keep)) this.#persist(sector, bytes)
      else if (!this.dirty.has(sector)) this.lost.add(sector)
    }
    if (random.chance(0.5)) this.#setDurableSize(flight.size)
  }

  flushNow(): void {
    this.land(this.startFlight())
  }

  /** The kernel writes a sector when it likes. */
  writeBack(random: Random): void {
    for (const sector of this.dirty) {
      if (!random.chance(0.5)) continue
      this.#persist(sector, this.#sector(this.content, sector))
      for (const flight of this.flights) flight.sectors.delete(sector)
    }
  }

  /** At a kill: the kernel finishes what was started, or goes on having it dirty. */
  endFlights(random: Random): void {
    for (const flight of [...this.flights]) {
      if (random.chance(0.5)) this.land(flight)
      else for (const sector of flight.sectors.keys()) this.dirty.add(sector)
    }
    this.flights.length = 0
  }

  evictLost(): void {
    if (this.lost.size > 0) this.version++
    for (const sector of this.lost) {
      const from = sector * this.sectorBytes
      const to = Math.min(from + this.sectorBytes, this.size)
      if (to <= from) continue
      this.content.set(withRoom(this.durable, to).subarray(from, to), from)
    }
    this.lost.clear()
  }

  losePower(plan: DiskPlan, random: Random): void {
    this.version++
    const keep = random.pick([0, 0.1, 0.5, 0.9, 1])
    for (const flight of this.flights) {
      for (const [sector, bytes] of flight.sectors) {
        if (random.chance(keep)) this.#persist(sector, bytes)
      }
    }
    for (const sector of this.dirty) {
      if (!random.chance(keep)) continue
      const bytes = this.#sector(this.content, sector).slice()
      if (random.chance(0.1)) this.#tear(sector, bytes, random.below(bytes.length))
      else this.#persist(sector, bytes)
    }
    const size = this.#sizeAfterLoss(random)
    this.durable = withRoom(this.durable, size)
    if (plan.garbage && size > this.durableSize) this.#fillUnwritten(size, random)
    this.content = this.durable.slice(0, Math.max(256, size))
    this.content.fill(0, size)
    this.size = size
    this.durable = this.content.slice()
    this.durableSize = size
    this.dirty.clear()
    this.lost.clear()
    this.flights.length = 0
  }

  #sizeAfterLoss(random: Random): number {
    const sizes = [this.size, this.durableSize, ...this.flights.map((flight) => flight.size)]
    const largest = Math.max(...sizes)
    const smallest = Math.min(...sizes)
    if (largest === smallest) return largest
    return random.chance(0.3) ? random.between(smallest, largest) : random.pick(sizes)
  }

  /** Sectors that the file grew by and that never reached the platter. */
  #fillUnwritten(size: number, random: Random): void {
    const first = Math.ceil(this.durableSize / this.sectorBytes)
    for (let sector = first; sector * this.sectorBytes < size; sector++) {
      const bytes = this.#sector(this.durable, sector)
      if (bytes.every((byte) => byte === 0)) bytes.set(random.bytes(bytes.length))
    }
  }

  #tear(sector: number, bytes: Uint8Array, count: number): void {
    this.durable = withRoom(this.durable, (sector + 1) * this.sectorBytes)
    this.durable.set(bytes.subarray(0, count), sector * this.sectorBytes)
  }

  #persist(sector: number, bytes: Uint8Array): void {
    this.durable = withRoom(this.durable, (sector + 1) * this.sectorBytes)
    this.durable.set(bytes, sector * this.sectorBytes)
  }

  #setDurableSize(size: number): void {
    this.durable = withRoom(this.durable, Math.max(size, this.durableSize))
    if (size < this.durableSize) this.durable.fill(0, size)
    this.durableSize = size
  }

  #sector(bytes: Uint8Array, sector: number): Uint8Array {
    const from = sector * this.sectorBytes
    return bytes.subarray(from, Math.min(from + this.sectorBytes, bytes.length))
  }

  #touch(from: number, to: number): void {
    if (to <= from) return
    const last = Math.floor((to - 1) / this.sectorBytes)
    for (let sector = Math.floor(from / this.sectorBytes); sector <= last; sector++) {
      this.dirty.add(sector)
      this.lost.delete(sector)
    }
  }
}

function withRoom(bytes: Uint8Array, length: number): Uint8Array<ArrayBuffer> {
  if (bytes.length >= length) return bytes as Uint8Array<ArrayBuffer>
  const grown = new Uint8Array(Math.max(length, bytes.length * 2))
  grown.set(bytes)
  return grown
}
