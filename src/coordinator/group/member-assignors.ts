import type { TopicPartition } from './consumer-protocol-writer.ts'

/**
 * How the leader of a classic group shares partitions out, under the names that clients know. All
 * give every partition of a topic that somebody is subscribed to, to exactly one of those. Pure.
 *
 *   range, roundrobin     everybody has given everything back before
 *   RoundRobinAssigner    the same as roundrobin, as kafkajs calls it
 *   cooperative-sticky    members keep what they have (KIP-429): what is to move is given to nobody
 *                         in this round, and to its new owner once the old one has let it go
 */
export interface AssignedMember {
  readonly memberId: string
  readonly topics: readonly string[]
  /** What it says that it has, and in which generation it got that; −1: it does not say. */
  readonly owned: readonly TopicPartition[]
  readonly generationId: number
}

/** Partitions by topic; topics that do not exist are not in it. */
export type PartitionCounts = ReadonlyMap<string, number>
/** By member id; everybody is in it. */
export type Shares = Map<string, TopicPartition[]>

type Assignor = (members: readonly AssignedMember[], counts: PartitionCounts) => Shares

/** In the order of preference. */
export const MEMBER_ASSIGNORS: ReadonlyMap<string, Assignor> = new Map([
  ['range', range],
  ['roundrobin', roundRobin],
  ['RoundRobinAssigner', roundRobin],
  ['cooperative-sticky', cooperativeSticky],
])

function emptyShares(members: readonly AssignedMember[]): Shares {
  return new Map(members.map(({ memberId }) => [memberId, []]))
}

/** By id, so that everybody who assigns comes to the same result. */
function sorted(members: readonly AssignedMember[]): AssignedMember[] {
  return [...members].sort((a, b) => (a.memberId < b.memberId ? -1 : 1))
}

function topicsOf(members: readonly AssignedMember[], counts: PartitionCounts): string[] {
  const topics = new Set(members.flatMap((member) => member.topics))
  return [...topics].filter((topic) => counts.has(topic)).sort()
}

/** Of each topic a run of partitions each, the first ones one more where it does not come out. */
function range(members: readonly AssignedMember[], counts: PartitionCounts): Shares {
  const shares = emptyShares(members)
  for (const topic of topicsOf(members, counts)) {
    const takers = sorted(members).filter(({ topics }) => topics.includes(topic))
    const count = counts.get(topic) as number
    for (let partition = 0; partition < count; partition++) {
      const each = Math.floor(count / takers.length)
      const larger = count % takers.length
      const border = larger * (each + 1)
      const at =
        partition < border
          ? Math.floor(partition / (each + 1))
          : larger + Math.floor((partition - border) / each)
      shares.get((takers[at] as AssignedMember).memberId)?.push({ topic, partition })
    }
  }
  return shares
}

/** All partitions in a row, dealt out in turn; who is not subscribed is passed over. */
function roundRobin(members: readonly AssignedMember[], counts: PartitionCounts): Shares {
  const shares = emptyShares(members)
  const takers = sorted(members)
  let next = 0
  for (const topic of topicsOf(members, counts)) {
    for (let partition = 0; partition < (counts.get(topic) as number); partition++) {
      while (!takers[next % takers.length]!.topics.includes(topic)) next++
      shares.get(takers[next++ % takers.length]!.memberId)?.push({ topic, partition })
    }
  }
  return shares
}

function cooperativeSticky(members: readonly AssignedMember[], counts: PartitionCounts): Shares {
  const owners = ownersOf(members, counts)
  const shares = emptyShares(members)
  for (const { owner, at } of owners.values()) if (owner !== null) shares.get(owner)?.push(at)
  const takers = sorted(members)
  for (const topic of topicsOf(members, counts)) {
    const subscribed = takers.filter(({ topics }) => topics.includes(topic))
    for (let partition = 0; partition < (counts.get(topic) as number); partition++) {
      if (owners.get(keyOf({ topic, partition }))?.owner != null) continue
      shares.get(least(subscribed, shares).memberId)?.push({ topic, partition })
    }
  }
  balance(takers, shares)
  const claims = claimsOf(members)
  for (const [memberId, share] of shares) {
    const isFree = (at: TopicPartition): boolean =>
      claims.get(keyOf(at))?.every((claimant) => claimant === memberId) ?? true
    shares.set(memberId, share.filter(isFree))
  }
  return shares
}

interface Owned {
  readonly at: TopicPartition
  /** Null: two claim it in the same generation, so that nobody may keep it. */
  readonly owner: string | null
}

/** Who has what, by the claims of the newest generation. */
function ownersOf(members: readonly AssignedMember[], counts: PartitionCounts) {
  const owners = new Map<string, Owned>()
  const generations = new Map<string, number>()
  for (const { memberId, topics, owned, generationId } of sorted(members)) {
    for (const at of owned) {
      const exists = at.partition >= 0 && at.partition < (counts.get(at.topic) ?? 0)
      if (!exists || !topics.includes(at.topic)) continue
      const key = keyOf(at)
      const known = generations.get(key)
      if (known !== undefined && known > generationId) continue
      owners.set(key, { at, owner: known === generationId ? null : memberId })
      generations.set(key, generationId)
    }
  }
  return owners
}

/** Who says of a partition that it is its own. */
function claimsOf(members: readonly AssignedMember[]): ReadonlyMap<string, readonly string[]> {
  const claims = new Map<string, string[]>()
  for (const { memberId, owned } of members) {
    for (const at of owned) {
      const claimants = claims.get(keyOf(at))
      if (claimants === undefined) claims.set(keyOf(at), [memberId])
      else claimants.push(memberId)
    }
  }
  return claims
}

function keyOf({ topic, partition }: TopicPartition): string {
  return `${partition}:${topic}`
}

function least(members: readonly AssignedMember[], shares: Shares): AssignedMember {
  let best = members[0] as AssignedMember
  for (const member of members) {
    const count = (shares.get(member.memberId) as TopicPartition[]).length
    if (count < (shares.get(best.memberId) as TopicPartition[]).length) best = member
  }
  return best
}

/** Moves partitions from who has two more than another one that could have them. */
function balance(members: readonly AssignedMember[], shares: Shares): void {
  for (;;) {
    const byCount = [...members].sort(
      (a, b) => shares.get(b.memberId)!.length - shares.get(a.memberId)!.length,
    )
    if (!byCount.some((giver) => moveOne(giver, byCount, shares))) return
  }
}

function moveOne(
  giver: AssignedMember,
  members: readonly AssignedMember[],
  shares: Shares,
): boolean {
  const share = shares.get(giver.memberId) as TopicPartition[]
  for (let i = share.length - 1; i >= 0; i--) {
    const at = share[i] as TopicPartition
    const takers = members.filter(({ topics }) => topics.includes(at.topic))
    const taker = least(takers, shares)
    const other = shares.get(taker.memberId) as TopicPartition[]
    if (other.length + 1 >= share.length) continue
    share.splice(i, 1)
    other.push(at)
    return true
  }
  return false
}
