/**
 * Liveness of credits: clients of which each wants to send messages in order, and waits for what
 * the next one costs, all send all of them, whatever the order of events is.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { CreditAccount } from '../../../src/gateway/websocket/credit-account.ts'
import { CreditPool } from '../../../src/gateway/websocket/credit-pool.ts'

const COST_MAX = 1000
const WINDOW_MAX = 1500

class Client {
  readonly account: CreditAccount
  readonly underWay: number[] = []
  isClosed = false
  sent = 0
  /** Messages that others have sent while this one was in line for a loan. */
  overtaken = 0
  readonly #costs: readonly number[]
  readonly #wanted: number
  /** What the server remembers that it asked for. */
  #asked = 0

  constructor(pool: CreditPool, { costs, wanted, isEager }: Plan) {
    this.account = new CreditAccount(pool, WINDOW_MAX)
    this.account.begin(40)
    this.#costs = costs
    this.#wanted = wanted
    if (isEager) this.account.want(wanted)
  }

  get isDone(): boolean {
    return this.isClosed || this.sent === this.#costs.length
  }

  get isWaiting(): boolean {
    return !this.isDone && this.underWay.length === 0 && this.#next > this.account.inHand
  }

  get #next(): number {
    return this.#costs[this.sent] as number
  }

  /** Sends its next message; else asks for what that takes, unless the server knows. */
  step(): boolean {
    if (this.isDone) return false
    if (this.account.spend(this.#next)) {
      this.underWay.push(this.#next)
      this.sent++
      return true
    }
    const wanted = Math.max(this.#next, this.#wanted)
    if (wanted > this.#asked) this.account.want(wanted)
    this.#asked = wanted
    return false
  }

  answer(): void {
    const cost = this.underWay.shift()
    if (cost === undefined) return
    if (this.isClosed) this.account.settle(cost)
    else if (this.account.restore(cost) > 0) this.#asked = 0
  }

  /** Gives what it does not need, or what is too little for its next message. */
  recall(): void {
    const { inHand } = this.account
    const needed = this.isDone || inHand < this.#next ? 0 : this.#next
    this.account.yield(inHand - needed)
    if (inHand > needed) this.#asked = 0
  }

  close(): void {
    if (!this.isClosed) this.account.close()
    this.isClosed = true
  }
}

interface Plan {
  readonly costs: readonly number[]
  readonly wanted: number
  /** It asks for a window before it needs one, and may never use that. */
  readonly isEager: boolean
}

const plan: fc.Arbitrary<Plan> = fc.record({
  costs: fc.array(fc.oneof(fc.integer({ min: 1, max: COST_MAX }), fc.constant(COST_MAX)), {
    maxLength: 6,
  }),
  wanted: fc.integer({ min: 0, max: 3000 }),
  isEager: fc.boolean(),
})

const event = fc.record({
  kind: fc.constantFrom('step', 'step', 'answer', 'answer', 'recall', 'grant', 'lend', 'close'),
  who: fc.nat(),
})

test('CreditPool, many clients, each gets its turn and none more than there is', () => {
  const sizes = fc.record({
    bytesShared: fc.integer({ min: 0, max: 8000 }),
    reserveBytes: fc.integer({ min: COST_MAX, max: 3 * COST_MAX }),
  })
  const plans = fc.array(plan, { minLength: 1, maxLength: 20 })
  fc.assert(
    fc.property(sizes, plans, fc.array(event, { maxLength: 200 }), (size, all, events) => {
      const { bytesShared, reserveBytes } = size
      const bytesTotal = bytesShared + reserveBytes
      const pool = new CreditPool({ bytesTotal, reserveBytes, messageCostMax: COST_MAX })
      const clients = all.map((one) => new Client(pool, one))
      const clientOf = new Map(clients.map((one) => [one.account as object, one]))
      const lend = (): void => {
        for (;;) {
          const first = pool.firstInLine
          if (first === null || clientOf.get(first)?.account.borrow() === 0) return
        }
      }
      const check = (): void => {
        let granted = 0
        for (const { account } of clients) {
          assert.ok(account.window <= WINDOW_MAX && account.borrowed <= account.window)
          granted += account.window
        }
        assert.equal(pool.bytesFree, bytesTotal - granted)
        assert.ok(granted <= bytesTotal)
      }

      for (const { kind, who } of events) {
        const client = clients[who % clients.length] as Client
        if (kind === 'step') client.step()
        else if (kind === 'answer') client.answer()
        else if (kind === 'lend') lend()
        else if (kind === 'close') client.close()
        else if (!client.isClosed) {
          if (kind === 'recall') client.recall()
          else client.account.grow()
        }
        check()
      }

      // From now on everybody does what is his part, in rounds; and nobody waits for long.
      for (let round = 0; clients.some((one) => !one.isDone); round++) {
        let moved = false
        for (const one of clients) {
          if (one.step()) {
            moved = true
            one.overtaken = 0
            for (const other of clients) if (other.isWaiting) other.overtaken++
          }
          lend()
          check()
        }
        for (const one of clients) {
          while (one.underWay.length > 0) {
            one.answer()
            moved = true
          }
          if (!one.isClosed && (one.isDone || round % 3 === 2)) one.recall()
          lend()
          check()
        }
        assert.ok(moved || round < 5 * 20 * 6, 'it stands still')
        for (const { overtaken } of clients) {
          assert.ok(overtaken <= 4 * clients.length, `${overtaken} messages before its own`)
        }
      }
      for (const one of clients) {
        while (one.underWay.length > 0) one.answer()
        one.close()
      }
      assert.equal(pool.bytesFree, bytesTotal)
    }),
    { numRuns: 500 },
  )
})
