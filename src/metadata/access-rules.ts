import { assert } from '../base/assert.ts'
import type { Uuid } from '../base/uuid.ts'
import type { AclRecord, ClientQuotaRecord, RemoveAclRecord } from './records.ts'

/**
 * Who may do what, and how much of it: ACLs (KIP-11, KIP-290) and quotas of clients (KIP-546) as
 * the metadata log has them, the same on every node. They are kept here and not enforced; whoever
 * does reads them from the image. Both are bounded, as a snapshot ends with all of them at once.
 */
export type AccessRecord = AclRecord | RemoveAclRecord | ClientQuotaRecord

export const ACLS_MAX = 10_000
export const QUOTAS_MAX = 10_000

/** Kafka's codes, of what may be set: those for questions (ANY, MATCH) are none of them. */
const RESOURCE_TYPES = { first: 2, last: 7 }
const PATTERN_TYPES = { first: 3, last: 4 }
const OPERATIONS = { first: 2, last: 15 }
const PERMISSIONS = { first: 2, last: 3 }

const ENTITY_TYPES: ReadonlySet<string> = new Set(['user', 'client-id', 'ip'])
const QUOTA_NAMES: ReadonlySet<string> = new Set([
  'producer_byte_rate',
  'consumer_byte_rate',
  'request_percentage',
  'controller_mutation_rate',
  'connection_creation_rate',
])

export class AccessRules {
  readonly #acls = new Map<Uuid, AclRecord>()
  readonly #quotas = new Map<string, ClientQuotaRecord>()

  get acls(): ReadonlyMap<Uuid, AclRecord> {
    return this.#acls
  }

  /** Those that are set, by who they are for and their names. */
  get quotas(): ReadonlyMap<string, ClientQuotaRecord> {
    return this.#quotas
  }

  /** Throws an AssertionError for a record that does not fit. */
  apply(record: AccessRecord): void {
    switch (record.type) {
      case 'acl':
        assert(!this.#acls.has(record.aclId), 'an ACL has an id of its own')
        this.#acls.set(record.aclId, record)
        return
      case 'remove-acl':
        assert(this.#acls.delete(record.aclId), 'an ACL that goes is there')
        return
      case 'client-quota':
        if (record.value === null) this.#quotas.delete(quotaKey(record))
        else this.#quotas.set(quotaKey(record), record)
    }
  }

  /** All that it takes to be the same. */
  *records(): Generator<AclRecord | ClientQuotaRecord, void, void> {
    yield* this.#acls.values()
    yield* this.#quotas.values()
  }
}

/** The same for the same parts of an entity, in whatever order. */
export function quotaKey({ entity, name }: ClientQuotaRecord): string {
  const parts = entity.map(({ entityType, entityName }) => [entityType, entityName] as const)
  parts.sort(([a], [b]) => (a < b ? -1 : 1))
  return JSON.stringify([parts, name])
}

/** Follows records that have not been applied: what is wrong with the first that does not fit. */
export class AccessCheck {
  readonly #rules: AccessRules
  /** Ids that records have taken (true) or let go. */
  readonly #acls = new Map<Uuid, boolean>()
  readonly #quotas = new Map<string, boolean>()
  #aclCount: number
  #quotaCount: number

  constructor(rules: AccessRules) {
    this.#rules = rules
    this.#aclCount = rules.acls.size
    this.#quotaCount = rules.quotas.size
  }

  /** Null when the record fits; it is taken for applied then. */
  next(record: AccessRecord): string | null {
    if (record.type === 'client-quota') return quotaProblem(record) ?? this.#setQuota(record)
    const { aclId } = record
    const isThere = this.#acls.get(aclId) ?? this.#rules.acls.has(aclId)
    if (record.type === 'remove-acl') {
      if (!isThere) return 'the ACL is not known'
      this.#acls.set(aclId, false)
      this.#aclCount--
      return null
    }
    if (isThere) return 'the id is taken'
    if (this.#aclCount >= ACLS_MAX) return `there are ${ACLS_MAX} ACLs, which is the most`
    this.#acls.set(aclId, true)
    this.#aclCount++
    return aclProblem(record)
  }

  #setQuota(record: ClientQuotaRecord): string | null {
    const key = quotaKey(record)
    const wasSet = this.#quotas.get(key) ?? this.#rules.quotas.has(key)
    const isSet = record.value !== null
    if (isSet && !wasSet && this.#quotaCount >= QUOTAS_MAX) {
      return `there are ${QUOTAS_MAX} quotas, which is the most`
    }
    this.#quotas.set(key, isSet)
    this.#quotaCount += Number(isSet) - Number(wasSet)
    return null
  }
}

function aclProblem(acl: AclRecord): string | null {
  if (!isWithin(acl.resourceType, RESOURCE_TYPES)) return `resource type ${acl.resourceType}`
  if (!isWithin(acl.patternType, PATTERN_TYPES)) return `pattern type ${acl.patternType}`
  if (!isWithin(acl.operation, OPERATIONS)) return `operation ${acl.operation}`
  if (!isWithin(acl.permission, PERMISSIONS)) return `permission ${acl.permission}`
  if (acl.resourceName === '') return 'the resource has no name'
  if (!/^[^:]+:./.test(acl.principal)) return 'a principal is a type, a colon and a name'
  return acl.host === '' ? 'the host is empty; * stands for all of them' : null
}

function quotaProblem({ entity, name, value }: ClientQuotaRecord): string | null {
  const types = new Set(entity.map(({ entityType }) => entityType))
  if (entity.length === 0 || types.size !== entity.length) return 'one name of each type'
  for (const type of types) if (!ENTITY_TYPES.has(type)) return `entity type ${type}`
  if (types.has('ip') && types.size > 1) return 'an address stands alone'
  if (!QUOTA_NAMES.has(name)) return `there is no quota ${name}`
  if (value === null || (Number.isFinite(value) && value > 0)) return null
  return 'a quota is above 0'
}

function isWithin(code: number, { first, last }: { first: number; last: number }): boolean {
  return code >= first && code <= last
}
