/** Changes of voters where the quorum is led, answered in time whatever becomes of them. */
import assert from 'node:assert/strict'
import { describe, type TestContext, test } from 'node:test'
import { ClusterAdminService } from '../../../src/broker/cluster/cluster-admin-service.ts'
import { ErrorCode } from '../../../src/errors/error-code.ts'
import { keyOf, settled } from '../../cluster/fixture.ts'
import { active } from '../../metadata/cluster-records.ts'
import { FakeNode } from './fake-node.ts'

const TIMEOUT_MS = 5000

class Fixture {
  readonly node = new FakeNode()
  readonly admin = new ClusterAdminService(this.node.asNode, [])
  readonly #t: TestContext

  constructor(t: TestContext) {
    this.#t = t
    t.mock.timers.enable({ apis: ['setTimeout'] })
    Object.assign(this.node.quorum, { removeVoter: () => null, endOffset: 6 })
    this.node.ledBy(this.node.self.id)
  }

  /** The code of the answer, once it comes. */
  async change(meanwhile: () => void): Promise<number> {
    const asked = this.admin.changeVotersHere({ isAdded: false, voter: keyOf(2) })
    await settled()
    meanwhile()
    return (await asked).errorCode ?? -1
  }

  pass(ms: number): void {
    this.#t.mock.timers.tick(ms)
  }
}

describe('ClusterAdminService, a change of voters', () => {
  test('is answered when it is applied', async (t) => {
    const fixture = new Fixture(t)
    const code = await fixture.change(() => fixture.node.commit(...active(1, 2, 3)))
    assert.equal(code, ErrorCode.NONE)
  })

  test('is said to be open when nobody commits it in time', async (t) => {
    const fixture = new Fixture(t)
    const code = await fixture.change(() => fixture.pass(TIMEOUT_MS))
    assert.equal(code, ErrorCode.REQUEST_TIMED_OUT)
  })

  test('is said to be open when another epoch has come this far', async (t) => {
    const fixture = new Fixture(t)
    const code = await fixture.change(() => {
      fixture.node.ledBy(2)
      fixture.node.commit(...active(1, 2, 3))
    })
    assert.equal(code, ErrorCode.NOT_CONTROLLER)
  })
})
