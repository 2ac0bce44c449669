/** ACLs and quotas in the metadata log: what fits, what an image of them is, and its snapshot. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { ACLS_MAX, QUOTAS_MAX } from '../../src/metadata/access-rules.ts'
import { checkRecords } from '../../src/metadata/check-records.ts'
import { MetadataImage } from '../../src/metadata/image.ts'
import { stateText } from '../../src/metadata/image-digest.ts'
import { ImageLoader } from '../../src/metadata/image-loader.ts'
import { ImageWriter } from '../../src/metadata/image-writer.ts'
import { decodeMetadataRecord, encodeMetadataRecord } from '../../src/metadata/record-schema.ts'
import type { AclRecord, ClientQuotaRecord, MetadataRecord } from '../../src/metadata/records.ts'
import { decodeSnapshotRecord, encodeSnapshotRecord } from '../../src/metadata/snapshot-schema.ts'
import { uuidFor } from './cluster-records.ts'

function acl(more: Partial<AclRecord> = {}): AclRecord {
  return {
    type: 'acl',
    aclId: uuidFor('A', 1),
    resourceType: 2,
    resourceName: 'orders',
    patternType: 3,
    principal: 'User:alice',
    host: '*',
    operation: 3,
    permission: 3,
    ...more,
  }
}

function quota(more: Partial<ClientQuotaRecord> = {}): ClientQuotaRecord {
  const entity = [{ entityType: 'client-id', entityName: 'loader' }]
  return { type: 'client-quota', entity, name: 'producer_byte_rate', value: 1e6, ...more }
}

function imageOf(records: readonly MetadataRecord[]): MetadataImage {
  const image = new MetadataImage()
  for (const record of records) image.apply(decodeMetadataRecord(encodeMetadataRecord(record)))
  return image
}

const USER = { entityType: 'user', entityName: null }
const CLIENT = { entityType: 'client-id', entityName: 'loader' }

describe('ACLs and quotas', () => {
  test('go through the log and a snapshot as they were set', () => {
    const all = [acl(), quota(), quota({ entity: [USER, CLIENT], value: 0.5 })]
    const image = imageOf(all)
    assert.deepEqual([...image.access.records()], all)
    const target = imageOf([acl({ aclId: uuidFor('A', 2) }), quota({ value: 3 })])
    const loader = new ImageLoader(target)
    const writer = new ImageWriter(image, (record) => {
      loader.apply(decodeSnapshotRecord(encodeSnapshotRecord(record)))
    })
    while (writer.step());
    writer.finish()
    for (const _ of loader.compare());
    loader.install()
    assert.equal(stateText(target), stateText(image))
    assert.deepEqual([...target.access.records()], all)
  })

  test('are gone when they are taken away', () => {
    const image = imageOf([
      acl(),
      quota({ entity: [USER, CLIENT] }),
      { type: 'remove-acl', aclId: acl().aclId },
      quota({ entity: [CLIENT, USER], value: null }), // In whatever order.
    ])
    assert.equal(stateText(image), stateText(new MetadataImage()))
  })

  test('a quota takes the place of the one before', () => {
    const image = imageOf([quota({ value: 1 }), quota({ value: 2 })])
    assert.deepEqual([...image.access.quotas.values()], [quota({ value: 2 })])
  })

  const refused: readonly (readonly [string, RegExp, readonly MetadataRecord[]])[] = [
    ['an ACL again', /id is taken/, [acl()]],
    ['an ACL twice', /id is taken/, [2, 2].map((n) => acl({ aclId: uuidFor('A', n) }))],
    ['the end of no ACL', /not known/, [{ type: 'remove-acl', aclId: uuidFor('A', 9) }]],
    ['an ACL for ANY', /resource type 1/, [acl({ aclId: uuidFor('A', 3), resourceType: 1 })]],
    ['a pattern MATCH', /pattern type 2/, [acl({ aclId: uuidFor('A', 3), patternType: 2 })]],
    ['no operation', /operation 16/, [acl({ aclId: uuidFor('A', 3), operation: 16 })]],
    ['no permission', /permission 1/, [acl({ aclId: uuidFor('A', 3), permission: 1 })]],
    ['a principal without type', /a colon/, [acl({ aclId: uuidFor('A', 3), principal: 'alice' })]],
    ['a resource without name', /no name/, [acl({ aclId: uuidFor('A', 3), resourceName: '' })]],
    ['no host', /host is empty/, [acl({ aclId: uuidFor('A', 3), host: '' })]],
    ['a quota for nobody', /each type/, [quota({ entity: [] })]],
    ['a quota for two users', /each type/, [quota({ entity: [USER, USER] })]],
    [
      'a quota for a planet',
      /entity type planet/,
      [quota({ entity: [{ entityType: 'planet', entityName: null }] })],
    ],
    [
      'a quota for a user at an address',
      /stands alone/,
      [quota({ entity: [USER, { entityType: 'ip', entityName: '::1' }] })],
    ],
    ['a quota of another name', /no quota retention/, [quota({ name: 'retention' })]],
    ['a quota of nothing', /above 0/, [quota({ value: 0 })]],
    ['a quota without number', /above 0/, [quota({ value: Number.NaN })]],
  ]
  for (const [what, pattern, records] of refused) {
    test(`refuses ${what}`, () => {
      const image = imageOf([acl()])
      const before = stateText(image)
      assert.match(checkRecords(image, records) ?? 'nothing', pattern)
      assert.equal(stateText(image), before, 'it only looks')
    })
  }

  test('are bounded, and one that goes makes room within the same proposal', () => {
    const full = [
      ...Array.from({ length: ACLS_MAX }, (_, i) => acl({ aclId: uuidFor('A', i) })),
      ...Array.from({ length: QUOTAS_MAX }, (_, i) => {
        return quota({ entity: [{ entityType: 'user', entityName: `u${i}` }] })
      }),
    ]
    assert.equal(checkRecords(new MetadataImage(), full), null)
    const image = new MetadataImage()
    for (const record of full) image.apply(record)
    const another = acl({ aclId: uuidFor('B', 0) })
    assert.match(checkRecords(image, [another]) ?? '', /10000 ACLs/)
    assert.match(checkRecords(image, [quota()]) ?? '', /10000 quotas/)
    const entity = [{ entityType: 'user', entityName: 'u7' }]
    assert.equal(checkRecords(image, [quota({ entity, value: 5 })]), null, 'changed, not added')
    const goes: MetadataRecord = { type: 'remove-acl', aclId: uuidFor('A', 0) }
    const room = [goes, another, quota({ entity, value: null }), quota()]
    assert.equal(checkRecords(image, room), null)
  })
})
