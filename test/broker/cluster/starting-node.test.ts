/** Questions of other nodes to one that does not take part in the quorum yet. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ClusterAdminService } from '../../../src/broker/cluster/cluster-admin-service.ts'
import type { ClusterNode } from '../../../src/broker/cluster/cluster-node.ts'
import { ErrorCode } from '../../../src/errors/error-code.ts'
import { keyOf } from '../../cluster/fixture.ts'

/** The others reach it already, and some knew it as the leader. */
const starting = {
  takesPart: false,
  get quorum(): never {
    throw new Error('the quorum is not formed yet')
  },
} as unknown as ClusterNode

test('changeVotersHere, refuses, while this node does not take part in the quorum', async () => {
  const service = new ClusterAdminService(starting, [])
  const { errorCode } = await service.changeVotersHere({ isAdded: true, voter: keyOf(2) })
  assert.equal(errorCode, ErrorCode.NOT_CONTROLLER)
})

test('quorumStateHere, says so, while this node does not take part in the quorum', () => {
  const { errorCode, leaderId, replicas } = new ClusterAdminService(starting, []).quorumStateHere()
  assert.deepEqual([errorCode, leaderId, replicas], [ErrorCode.NOT_CONTROLLER, -1, []])
})
