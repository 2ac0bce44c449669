/**
 * Runs one seed: draws a plan, lives through several lives of the process on one disk and one
 * clock, and checks after each start that the logs hold what the models say. Deterministic: the
 * same seed and code give the same trace. Single-threaded; promises only where main itself uses
 * them (control requests), and those are drained at fixed points.
 */
import { Random } from '../../src/base/random.ts'
import { BrokerError } from '../../src/errors/broker-error.ts'
import type { PartitionLog } from '../../src/storage/log.ts'
import { identify, type StoredBatch } from './batches.ts'
import { type Ending, PartitionModel } from './checker.ts'
import { journal } from './journal.ts'
import { drawPlan, type Plan } from './plan.ts'
import { SimClock, SimProcess } from './process.ts'
import { Producer } from './producer.ts'
import { checkProducerState } from './producer-check.ts'
import { SimCrash, SimDisk } from './sim-disk.ts'
import { asViolation, require_, type SeedResult, Violation } from './violation.ts'
import { Workload } from './workload.ts'

/** Steps within which everything must be answered once the faults are off. */
const SETTLE_STEPS_MAX = 4000
const START_STEPS_MAX = 4000
const MICROTASK_ROUNDS = 6

export async function runSeed(seed: number): Promise<SeedResult> {
  const simulation = new Simulation(seed)
  let violation: Violation | null = null
  try {
    await simulation.run()
  } catch (error) {
    violation = asViolation(error)
  }
  const { trace, counters } = simulation.disk
  return { seed, violation, trace, steps: simulation.steps, counters }
}

class Simulation {
  readonly disk: SimDisk
  steps = 0
  readonly #random: Random
  readonly #plan: Plan
  readonly #clock = new SimClock()
  readonly #models: PartitionModel[]
  readonly #producers: Producer[]
  readonly #leaderEpochs: number[]
  #process: SimProcess | null = null
  #workload: Workload | null = null
  #nextId = 1
  /** A disk fault was switched on in this life. */
  #wereFaultsOn = false

  constructor(seed: number) {
    const random = new Random(seed)
    this.#plan = drawPlan(random.split())
    this.disk = new SimDisk(this.#plan.disk, random.split())
    this.disk.nowMs = () => this.#clock.wallMs()
    this.#random = random.split()
    this.#models = this.#plan.partitions.map((partition) => new PartitionModel(partition))
    this.#producers = this.#plan.producers.map(
      (producer) => new Producer(producer, this.#models[producer.partition] as PartitionModel),
    )
    this.#leaderEpochs = this.#plan.partitions.map(() => 0)
  }

  async run(): Promise<void> {
    for (let life = 0; life < this.#plan.lives; life++) {
      await this.#start()
      await this.#live()
    }
    await this.#start()
    await this.#settle()
    await this.#shutDown(0.5)
    await this.#start()
    await this.#settle()
  }

  // —— starting ——

  async #start(): Promise<void> {
    while (this.#process === null) await this.#tryStart()
    this.#checkAll()
  }

  async #tryStart(): Promise<void> {
    const { faults } = this.#plan
    const { disk } = this
    this.#wereFaultsOn = false
    if (this.#random.chance(faults.crash * 10) && this.#random.chance(faults.crashInsideCall)) {
      disk.crashIn = this.#random.between(1, 60)
    }
    if (this.#random.chance(faults.outOfSpace)) this.#startFault('no room at start')
    if (this.#random.chance(faults.failFlushes)) {
      this.#wereFaultsOn = true
      disk.flushFailChance = 0.1
      disk.count('windows of failing flushes at start')
    }
    try {
      const process = new SimProcess(this.#plan, disk, this.#clock, this.#random)
      this.#process = process
      this.#workload = new Workload(process, this.#random, {
        note: (...values) => disk.note(...values),
        count: (what) => disk.count(what),
        areFaultsOn: () => this.#wereFaultsOn,
      })
      let isOpen = false
      let failure: unknown = null
      process.open().then(
        () => {
          isOpen = true
        },
        (error: unknown) => {
          failure = error
        },
      )
      for (let step = 0; !isOpen; step++) {
        await this.#turnAll()
        if (failure !== null) throw failure
        require_(step < START_STEPS_MAX, 'a start ends', () => `${step} rounds`)
      }
    } catch (error) {
      if (error instanceof SimCrash) {
        this.#crash()
        return
      }
      // Main could not read the directories: the broker refuses to start.
      if (!(error instanceof BrokerError) || !this.#wereFaultsOn) throw error
      this.#end('kill')
      this.disk.kill()
      return
    }
    disk.count('starts')
    disk.freeBytes = Infinity
    disk.flushFailChance = 0
    journal(() => `started with ${this.#process?.units.length} shards`)
    disk.crashIn = Infinity
    const { failedDirectories } = this.#process as SimProcess
    if (failedDirectories.size === 0) return
    const reasons = this.#process?.warnings.join('; ')
    require_(
      this.#wereFaultsOn,
      'a log that was not damaged opens',
      () => `${[...failedDirectories].join()}: ${this.#process?.failures.join('; ')} ${reasons}`,
    )
    this.#end('kill')
    this.disk.kill()
  }

  /** Reads every log from its start to its end, and the indexes and producers with it. */
  #checkAll(): void {
    const process = this.#process as SimProcess
    for (const model of this.#models) {
      const log = this.#logOf(model)
      journal(() => `${model.name}: ${log.logStartOffset} to ${log.logEndOffset}`)
      const batches = readAll(log, model)
      journal(() => batches.map(describe).join(', '))
      model.restart(batches, log.logStartOffset, log.logEndOffset)
      model.durableEnd = log.recoveryPoint
      require_(
        log.recoveryPoint === log.logEndOffset && log.highWatermark === log.logEndOffset,
        'after a start everything is durable',
        () => `${model.name}: ${log.recoveryPoint} of ${log.logEndOffset}`,
      )
      this.#verify(model, log)
      if (this.#random.chance(0.7)) checkProducerState(log, batches, model.name)
      this.#note(log.logStartOffset, log.logEndOffset)
      if (this.#random.chance(0.5)) {
        this.#leaderEpochs[model.plan.handle] =
          (this.#leaderEpochs[model.plan.handle] as number) + 1
      }
    }
    for (const warning of process.warnings) this.#note(warning.length)
  }

  #logOf(model: PartitionModel): PartitionLog {
    const { shard } = (this.#process as SimProcess).unitOf(model.plan.handle)
    const partition = shard.state.partitions.get(model.plan.handle)
    const log = partition === undefined ? null : shard.state.openLog(partition)
    if (log === null) throw new Violation('a log that was not damaged opens', model.name)
    return log
  }

  #verify(model: PartitionModel, log: PartitionLog): void {
    const { problems } = log.verify()
    require_(
      problems.length === 0,
      'indexes agree with the log',
      () => `${model.name}: ${problems.slice(0, 5).join('; ')}`,
    )
  }

  // —— living ——

  async #live(): Promise<void> {
    const { faults, stepsPerLife } = this.#plan
    try {
      for (let step = 0; step < stepsPerLife; step++) {
        if (this.#random.chance(faults.cleanShutdown)) {
          await this.#settle()
          await this.#shutDown(0)
          return
        }
        if (this.#random.chance(faults.crash)) {
          if (!this.#random.chance(faults.crashInsideCall)) {
            this.#crash()
            return
          }
          if (this.disk.crashIn === Infinity) this.disk.crashIn = this.#random.between(1, 30)
        }
        if (this.#random.chance(faults.truncate)) {
          await this.#settle()
          this.#truncate(this.#random.pick(this.#models))
        }
        this.#injectFaults()
        this.#act()
        await this.#turnAll()
        this.#checkStep()
      }
      if (this.#random.chance(0.5)) {
        await this.#settle()
        if (this.#random.chance(0.4)) {
          await this.#shutDown(0.3)
          return
        }
      }
    } catch (error) {
      if (!(error instanceof SimCrash)) throw error
    }
    this.#crash()
  }

  #injectFaults(): void {
    const { faults } = this.#plan
    const { disk } = this
    if (disk.freeBytes !== Infinity || disk.flushFailChance > 0) {
      if (this.#random.chance(0.1)) {
        disk.freeBytes = Infinity
        disk.flushFailChance = 0
      }
    } else {
      if (this.#random.chance(faults.outOfSpace)) this.#startFault('no room')
      if (this.#random.chance(faults.failFlushes)) {
        this.#wereFaultsOn = true
        disk.flushFailChance = this.#random.pick([0.1, 0.5, 1])
        disk.count('windows of failing flushes')
      }
    }
    if (this.#random.chance(faults.timeJump)) {
      disk.count('time jumps')
      if (this.#random.chance(0.5)) this.#clock.advance(this.#random.pick([500, 5000, 600_000]))
      else this.#clock.wall += this.#random.between(-600_000, 600_000)
    }
  }

  #startFault(what: string): void {
    this.#wereFaultsOn = true
    this.disk.freeBytes = this.#random.pick([0, 1, 50, 500, 5000])
    this.disk.count(`windows of ${what}`)
  }

  #act(): void {
    const random = this.#random
    const workload = this.#workload as Workload
    for (const producer of this.#producers) {
      if (random.chance(0.4)) this.#produce(producer, workload)
    }
    const model = random.pick(this.#models)
    if (random.chance(0.3)) workload.read(model)
    if (random.chance(0.05)) workload.unwatch()
    if (random.chance(0.5)) workload.release(false)
    if (random.chance(0.05)) {
      workload.lookUp(model, this.#clock.wallMs() - random.below(this.#plan.stepMsMax * 100))
    }
    if (random.chance(0.02)) workload.deleteRecords(model)
    if (random.chance(0.05)) workload.ask(model)
    if (random.chance(0.01)) {
      const { handle } = model.plan
      this.#leaderEpochs[handle] = (this.#leaderEpochs[handle] as number) + 1
    }
  }

  #produce(producer: Producer, workload: Workload): void {
    const { recordsMax, valueBytesMax, faults } = this.#plan
    const run = producer.next(
      {
        nextId: () => this.#nextId++,
        recordsMax,
        valueBytesMax,
        timestamp: () => this.#clock.wallMs() - this.#random.below(50),
      },
      this.#random,
    )
    if (run === null) return
    const leaderEpoch = this.#leaderEpochs[producer.plan.partition] as number
    if (this.#random.chance(faults.junk)) {
      const junk = new Uint8Array(run.bytes)
      // Past the fields that are not covered by the CRC.
      const at = this.#random.between(21, junk.length - 1)
      junk[at] = (junk[at] as number) ^ (1 << this.#random.below(8))
      if (run.batches.length === 1) workload.produceJunk(producer.model, junk, leaderEpoch)
    }
    if (!workload.produce(run, leaderEpoch)) producer.notSent(run)
  }

  /**
   * As a follower does; only where nothing is under way that would be answered wrongly after it.
   */
  #truncate(model: PartitionModel): void {
    const { shard } = (this.#process as SimProcess).unitOf(model.plan.handle)
    const partition = shard.state.partitions.get(model.plan.handle)
    const log = partition?.openedLog ?? null
    const isQuiet =
      log !== null &&
      !log.flushing &&
      !log.hasStaged &&
      !log.failed &&
      this.#workload?.pending === 0
    if (!isQuiet || this.disk.flushFailChance > 0 || this.disk.freeBytes !== Infinity) return
    if (log.logEndOffset === log.logStartOffset) return
    const offset = this.#random.between(log.logStartOffset, log.logEndOffset - 1)
    this.disk.count('truncations')
    journal(() => `${model.name}: truncate to ${offset}`)
    model.truncate(offset)
    log.truncateTo(offset)
    model.highWatermark = log.highWatermark
    model.knownEnd = Math.min(model.knownEnd, log.logEndOffset)
    model.durableEnd = Math.min(model.durableEnd, log.logEndOffset)
    model.logStartOffset = Math.min(model.logStartOffset, log.logStartOffset)
    model.visibleStart = Math.min(model.visibleStart, log.logStartOffset)
    require_(log.logEndOffset <= offset, 'a truncation cuts', () => `${model.name}: ${offset}`)
    this.#verify(model, log)
  }

  /** Every shard once, in any order, some not at all; then main; then the promises of main. */
  async #turnAll(): Promise<void> {
    const process = this.#process as SimProcess
    const random = this.#random
    this.steps++
    this.#clock.advance(random.fraction() * this.#plan.stepMsMax)
    for (const { proxy } of process.units) proxy.flush()
    const order = process.units.length > 1 && random.chance(0.5)
    for (const unit of order ? [...process.units].reverse() : process.units) {
      if (unit.shard.isShutDown || !random.chance(0.9)) continue
      for (const model of this.#models) {
        model.wallMsMax = Math.max(model.wallMsMax, this.#clock.wallMs())
      }
      this.disk.note(process.turn(unit))
      this.#checkTurn(process)
    }
    for (const { proxy } of process.units) if (random.chance(0.9)) proxy.poll()
    for (let i = 0; i < MICROTASK_ROUNDS; i++) await null
    const failure = this.#workload?.failure
    if (failure != null) throw failure
  }

  #checkTurn(process: SimProcess): void {
    for (const model of this.#models) {
      const log = process.boundsOf(model.plan.handle)
      if (log === null || !model.noteTurn(log)) continue
      this.disk.count('deletions by retention')
      if (log.logStartOffset === log.logEndOffset) this.disk.count('logs emptied by retention')
    }
  }

  #checkStep(): void {
    if (!this.#random.chance(0.02)) return
    const model = this.#random.pick(this.#models)
    const { shard } = (this.#process as SimProcess).unitOf(model.plan.handle)
    const log = shard.state.partitions.get(model.plan.handle)?.openedLog ?? null
    if (log === null || log.failed || log.hasStaged) return
    this.#verify(model, log)
  }

  /** Faults off: every request is answered, every watch woken. */
  async #settle(): Promise<void> {
    const workload = this.#workload as Workload
    const { disk } = this
    disk.freeBytes = Infinity
    disk.flushFailChance = 0
    for (let step = 0; workload.pending > 0 || step < 5; step++) {
      await this.#turnAll()
      if (this.#random.chance(0.2)) workload.release(false)
      require_(
        step < SETTLE_STEPS_MAX,
        'every request is answered',
        () => `${workload.pending} wait`,
      )
    }
    for (let i = 0; i < 20; i++) await this.#turnAll()
    workload.checkWatches()
    workload.release(true)
    for (let i = 0; i < 10; i++) await this.#turnAll()
    const process = this.#process as SimProcess
    for (const { shard } of process.units) {
      const egressBytesInUse = shard.state.egress.bytesInUse
      require_(egressBytesInUse === 0, 'memory comes back', () => `${egressBytesInUse} bytes`)
    }
    require_(process.ingress.bytesInUse === 0, 'memory comes back', () => 'ingress')
  }

  // —— ending ——

  async #shutDown(powerLossChance: number): Promise<void> {
    const process = this.#process as SimProcess
    let isDone = false
    void process.shutdown().then(() => {
      isDone = true
    })
    try {
      for (let step = 0; !isDone; step++) {
        await this.#turnAll()
        require_(step < SETTLE_STEPS_MAX, 'a shutdown ends', () => `${step} rounds`)
      }
    } catch (error) {
      if (!(error instanceof SimCrash)) throw error
      this.#crash()
      return
    }
    this.disk.count('clean shutdowns')
    journal(() => 'clean shutdown')
    for (const { files, index } of process.units) {
      const isFailed = process.failedDirectories.size > 0
      require_(isFailed || files.openFiles === 0, 'no file is left open', () => `shard ${index}`)
    }
    const isPowerLoss = this.#random.chance(powerLossChance)
    if (process.failedDirectories.size === 0) this.#end('clean')
    else this.#end(isPowerLoss ? 'power-loss' : 'kill')
    if (isPowerLoss) this.disk.losePower()
    else this.disk.kill()
  }

  /** Kill or power loss, now. */
  #crash(): void {
    const isPowerLoss = this.#random.chance(this.#plan.faults.powerLoss)
    journal(() => (isPowerLoss ? 'power loss' : 'kill'))
    this.#end(isPowerLoss ? 'power-loss' : 'kill')
    if (isPowerLoss) this.disk.losePower()
    else this.disk.kill()
  }

  #end(ending: Ending): void {
    const process = this.#process
    for (const model of this.#models) {
      const log = process?.openedLog(model.plan.handle) ?? null
      // What the log said was flushed is a promise too.
      if (log !== null) model.durableEnd = Math.max(model.durableEnd, log.recoveryPoint)
      journal(
        () =>
          `${model.name}: ${ending}, durable to ${model.durableEnd}, known to ${model.knownEnd}`,
      )
      for (const path of this.disk.failedPaths) {
        if (path.startsWith(`${model.plan.directory}/`)) model.isBetrayed = true
      }
      model.end(ending)
    }
    for (const producer of this.#producers) producer.crashed()
    process?.die()
    this.#process = null
    this.#workload = null
  }

  #note(...values: number[]): void {
    this.disk.note(...values)
  }
}

function describe({ sent, baseOffset }: StoredBatch): string {
  return `${baseOffset}: batch ${sent.id} (${sent.producerId}/${sent.producerEpoch} ${sent.baseSequence})`
}

function readAll(log: PartitionLog, model: PartitionModel): StoredBatch[] {
  const batches: StoredBatch[] = []
  let next = log.logStartOffset
  while (next < log.logEndOffset) {
    const location = log.locate(next, 1 << 20, { minOneBatch: true, upTo: 'logEnd' })
    if (typeof location === 'number' || location.length === 0) {
      throw new Violation('offsets are dense', `${model.name}: nothing at ${next}`)
    }
    const into = new Uint8Array(location.length)
    const bytes = log.read(location, into, 0)
    const found = identify(into.subarray(0, bytes), model.sent, model.name)
    batches.push(...found)
    next = (found.at(-1) as StoredBatch).lastOffset + 1
  }
  return batches
}
