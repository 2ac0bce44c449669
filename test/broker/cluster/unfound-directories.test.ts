/** Where replicas go whose log directory this broker does not have. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  isElsewhere,
  placeUnfound,
  type UnfoundParts,
} from '../../../src/broker/cluster/unfound-directories.ts'
import {
  folderOf,
  missingPath,
  PartitionPlacement,
} from '../../../src/broker/partition-placement.ts'
import type { ControlRequest } from '../../../src/shard/control.ts'
import { TOPIC, uuidFor } from '../../metadata/cluster-records.ts'

const GONE = uuidFor('G', 1)
const GONE_BEFORE = uuidFor('G', 2)
const HERE = uuidFor('H', 1)
const FOLDER = folderOf(TOPIC, 0)

/** A broker with the directories /a and /b; `files`: what is there. */
function broker(more: { hasOffline?: boolean; files?: string[]; offline?: string[] } = {}) {
  const { files = [], offline = [] } = more
  const asked: ControlRequest[] = []
  const said: string[] = []
  const placement = new PartitionPlacement({
    shards: 1,
    directories: new Map([
      [HERE, '/a'],
      [uuidFor('H', 2), '/b'],
    ]),
    conditionOf: (path) => (offline.includes(path) ? 'offline' : 'online'),
  })
  const say = (_: unknown, message: string): number => said.push(message)
  const parts = {
    placement,
    hasOffline: more.hasOffline ?? false,
    exists: (path: string) => files.includes(path),
    shards: [{ control: (request: ControlRequest) => asked.push(request) }] as unknown[],
    loggers: () => ({ warn: say, error: say }),
  } as unknown as UnfoundParts
  return { parts, placement, asked, said }
}

test('placeUnfound, when all directories can be used, takes one that has room, and says so', () => {
  const { parts, placement, asked, said } = broker({ offline: ['/a'] })
  placeUnfound(GONE, [FOLDER], parts)
  assert.equal(placement.pathOf(GONE), '/b')
  assert.match(said.join(), /made anew/)
  assert.deepEqual(asked, [])
})

test('placeUnfound, when another start has made them anew, finds them and says nothing', () => {
  const { parts, placement, said } = broker({ files: [`/b/${FOLDER}`] })
  placeUnfound(GONE, [folderOf(TOPIC, 7), FOLDER], parts)
  assert.equal(placement.pathOf(GONE), '/b')
  assert.deepEqual(said, [])
})

for (const how of [{ hasOffline: true }, { offline: ['/a', '/b'] }]) {
  test(`placeUnfound, with ${JSON.stringify(how)}, has them offline and writes nowhere`, () => {
    const { parts, placement, asked, said } = broker(how)
    placeUnfound(GONE, [FOLDER], parts)
    assert.equal(placement.isPlaced(GONE), false)
    assert.deepEqual(
      asked.map(({ kind, ...rest }) => [kind, 'logDirectory' in rest && rest.logDirectory]),
      [['fail-directory', missingPath(GONE)]],
    )
    assert.match(said.join(), /offline/)
  })
}

test('isElsewhere, between names of one place and between places', () => {
  const { parts, placement } = broker({ files: [`/b/${FOLDER}`] })
  placeUnfound(GONE, [FOLDER], parts)
  const replica = { topicId: TOPIC, partition: 0, directory: GONE }
  assert.equal(isElsewhere(replica, GONE, parts), false)
  assert.equal(isElsewhere(replica, GONE_BEFORE, parts), false, 'found in the same')
  assert.equal(placement.pathOf(GONE_BEFORE), '/b')
  assert.equal(isElsewhere(replica, HERE, parts), true)
})
