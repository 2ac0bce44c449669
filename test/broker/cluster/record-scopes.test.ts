/** What a change of metadata rests on. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { scopesOf } from '../../../src/broker/cluster/record-scopes.ts'
import type { MetadataRecord } from '../../../src/metadata/records.ts'
import { uuidFor } from '../../metadata/cluster-records.ts'

type Type = MetadataRecord['type']

function recordOf(type: Type, n = 1): MetadataRecord {
  return { type, topicId: uuidFor('T', n), name: `t${n}` } as unknown as MetadataRecord
}

/** Whether `second` is decided again when `first` was taken after what it looked at. */
function conflicts(first: Type, second: Type): boolean {
  const { writes, names } = scopesOf([recordOf(first)])
  const rests = scopesOf([recordOf(second)])
  return (
    rests.reads.some((scope) => writes.includes(scope)) ||
    rests.names.some((name) => names.includes(name))
  )
}

describe('a change of metadata', () => {
  const again: readonly (readonly [Type, Type])[] = [
    ['topic', 'topic'],
    ['remove-topic', 'remove-topic'],
    ['partitions', 'partitions'],
    ['remove-topic', 'partitions'],
    ['remove-topic', 'config'],
    ['remove-topic', 'partition-altered'],
    ['config', 'partition-altered'],
    ['partition-altered', 'partition-altered'],
    ['partition-altered', 'leader-elected'],
    ['partition-reassigned', 'partition-altered'],
    ['broker-fenced', 'partition-altered'],
    ['broker-fenced', 'leader-elected'],
    ['broker-registered', 'replicas-failed'],
    ['partition-altered', 'replicas-failed'],
    ['replicas-failed', 'partition-altered'],
    ['broker-config', 'replicas-failed'],
    ['broker-registered', 'broker-fenced'],
    ['broker-registered', 'broker-registered'],
    ['broker-unregistered', 'partition-reassigned'],
    ['broker-config', 'partition-reassigned'],
    ['producer-ids', 'producer-ids'],
    ['broker-config', 'broker-config'],
    ['group-config', 'group-config'],
    ['features', 'features'],
    ['acl', 'remove-acl'],
    ['client-quota', 'client-quota'],
  ]
  for (const [first, second] of again) {
    test(`is decided again: ${second} after ${first}`, () => assert.ok(conflicts(first, second)))
  }

  const stands: readonly (readonly [Type, Type])[] = [
    ['partition-altered', 'topic'],
    ['topic', 'remove-topic'],
    ['topic', 'partition-altered'],
    ['remove-topic', 'topic'],
    ['partition-altered', 'producer-ids'],
    ['topic', 'producer-ids'],
    ['broker-config', 'topic'],
    ['partition-altered', 'broker-fenced'],
    ['producer-ids', 'partition-altered'],
    ['acl', 'broker-config'],
  ]
  for (const [first, second] of stands) {
    test(`stands: ${second} after ${first}`, () => assert.ok(!conflicts(first, second)))
  }

  test('of several records rests on what each of them does', () => {
    const { reads, writes } = scopesOf([recordOf('config'), recordOf('producer-ids')])
    assert.deepEqual([...reads].sort(), ['producer-ids', 'topics'])
    assert.deepEqual([...writes].sort(), ['producer-ids', 'topics'])
  })

  test('that makes a topic rests on its name, and whatever collides with it, alone', () => {
    const named = { ...recordOf('topic'), name: 'a.b' } as MetadataRecord
    const records = [named, recordOf('config'), recordOf('partitions')]
    assert.deepEqual(scopesOf(records), { reads: [], writes: [], names: ['a_b'] })
    const { reads } = scopesOf([...records, recordOf('partitions', 2)])
    assert.deepEqual(reads, ['topics'])
  })
})
