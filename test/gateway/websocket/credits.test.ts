import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CreditAccount } from '../../../src/gateway/websocket/credit-account.ts'
import { CreditPool } from '../../../src/gateway/websocket/credit-pool.ts'
import { withSeed } from '../../support/seed.ts'

/** Without a reserve where none is named. */
function poolOf(bytesTotal: number, reserveBytes = 0, messageCostMax = 0): CreditPool {
  return new CreditPool({ bytesTotal, reserveBytes, messageCostMax })
}

test('CreditAccount, whatever clients do, the pool knows every byte that is granted', async () => {
  await withSeed('gateway/websocket/credits', (random) => {
    const pool = poolOf(10_000, 2500, 2000)
    interface Client {
      readonly account: CreditAccount
      /** What the client believes that it may send. */
      believed: number
      readonly underWay: number[]
      isClosed: boolean
    }
    const clients: Client[] = []
    const open = (): void => {
      const account = new CreditAccount(pool, 3000)
      const believed = account.begin(100)
      clients.push({ account, believed, underWay: [], isClosed: false })
    }
    for (let step = 0; step < 20_000; step++) {
      if (clients.length === 0 || random.chance(0.05)) open()
      const client = random.pick(clients)
      const { account, underWay } = client
      if (client.isClosed) {
        const cost = underWay.pop()
        if (cost === undefined) clients.splice(clients.indexOf(client), 1)
        else account.settle(cost)
      } else if (random.chance(0.2)) {
        client.believed += account.want(random.below(5000))
      } else if (random.chance(0.1)) {
        client.believed += random.chance(0.5) ? account.grow() : account.borrow()
      } else if (random.chance(0.3)) {
        const cost = random.between(1, 1500)
        const mayAfford = cost <= client.believed
        assert.equal(account.spend(cost), mayAfford, 'both sides count alike')
        if (mayAfford) {
          client.believed -= cost
          underWay.push(cost)
        }
      } else if (random.chance(0.5)) {
        const cost = underWay.pop()
        if (cost !== undefined) {
          const own = Math.min(account.window - account.borrowed, pool.fairShare)
          const kept = account.restore(cost)
          assert.ok(kept === 0 || account.window >= own, 'nobody loses his share')
          client.believed += cost - kept
        }
      } else if (random.chance(0.25)) {
        const given = random.below(client.believed + 1)
        account.yield(given)
        client.believed -= given
      } else if (random.chance(0.05)) {
        account.close()
        client.isClosed = true
        client.believed = 0
      }
      let granted = 0
      for (const { account: one, believed, underWay: costs } of clients) {
        const spent = costs.reduce((sum, cost) => sum + cost, 0)
        assert.equal(one.inHand, believed)
        assert.equal(one.window, believed + spent)
        assert.ok(one.window <= 3000)
        granted += one.window
      }
      assert.equal(pool.bytesFree, 10_000 - granted)
    }
  })
})

test('CreditAccount, busy clients, give up what they have above a fair share', () => {
  const pool = poolOf(9000)
  const busy = [0, 1, 2].map(() => new CreditAccount(pool, 4500))
  for (const account of busy) account.want(4500)
  assert.deepEqual(
    busy.map(({ window }) => window),
    [4500, 4500, 0],
  )
  const [a, b, c] = busy as [CreditAccount, CreditAccount, CreditAccount]
  a.spend(4000)
  assert.equal(a.restore(1000), 1000, 'everything, while it has more than a share')
  assert.equal(c.grow(), 1000)
  assert.equal(b.restore(0), 0)
  a.restore(1000)
  assert.equal(a.window, 3000, 'down to the share')
  assert.equal(a.restore(2000), 0, 'and no further')
  c.grow()
  assert.equal(c.window, 1500)
  b.spend(4500)
  assert.equal(b.restore(4500), 1500)
  c.grow()
  assert.deepEqual(
    busy.map(({ window }) => window),
    [3000, 3000, 3000],
  )
  assert.equal(pool.isShort, false)
  c.close()
  assert.equal(a.want(4500), 1500, 'what is free again is for all')
})

test('CreditAccount, a client that yields, does not want it back at once', () => {
  const pool = poolOf(1000)
  const account = new CreditAccount(pool, 1000)
  assert.equal(account.want(800), 800)
  account.yield(700)
  assert.equal(account.isWaiting, false)
  assert.equal(account.grow(), 0)
  account.yield(5000)
  assert.equal(account.inHand, 0, 'more than it has is what it has')
  assert.equal(pool.bytesFree, 1000)
})

type Six = [A, A, A, A, A, A]
type A = CreditAccount

test('CreditAccount, shares too small for a message, take turns by loans', () => {
  const pool = poolOf(4000, 1000, 1000)
  const all = [0, 1, 2, 3, 4, 5].map(() => new CreditAccount(pool, 1000))
  for (const account of all) account.begin(500)
  for (const account of all) account.want(1000)
  assert.equal(pool.sharedFree, 0)
  const [a, b, c, d, e, f] = all as Six
  assert.deepEqual([b.borrow(), a.borrow(), b.borrow()], [0, 500, 500], 'in turn')
  assert.equal(c.borrow(), 0, 'the reserve has no more')
  assert.ok(a.spend(1000))
  assert.equal(a.restore(1000), 500, 'the loan')
  a.want(1000)
  assert.equal(a.borrow(), 0, 'at the end of the line')
  assert.equal(c.borrow(), 500)
  d.yield(0)
  b.yield(400)
  assert.equal(b.borrowed, 100)
  assert.equal(d.borrow(), 0, 'not a part of what it lacks')
  assert.ok(b.spend(600))
  b.close()
  b.settle(600)
  assert.equal(d.borrow(), 500, 'who gives nothing keeps its place')
  for (const one of [c, d]) {
    one.spend(1000)
    one.restore(1000)
  }
  assert.deepEqual([e.borrow(), f.borrow(), a.borrow()], [500, 500, 0])
  assert.ok(f.spend(100))
  for (const one of all) if (one !== f && one !== b) one.close()
  assert.equal(f.restore(100), 0, 'a loan is kept while nobody waits for it')
  f.close()
  assert.equal(pool.bytesFree, 4000)
})
