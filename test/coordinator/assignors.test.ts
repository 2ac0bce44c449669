import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import type { Assignment } from '../../src/coordinator/group/assignment.ts'
import type {
  Assignor,
  AssignorInput,
  AssignorMember,
} from '../../src/coordinator/group/assignors/assignor.ts'
import { assignRange } from '../../src/coordinator/group/assignors/range.ts'
import { assignUniform } from '../../src/coordinator/group/assignors/uniform.ts'

const TOPICS = ['a', 'b', 'c', 'd']

/** Partitions of each topic, and what each member is subscribed to. */
interface Scene {
  readonly partitions: readonly number[]
  readonly subscriptions: readonly (readonly string[])[]
}

const partitions = fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 4, maxLength: 4 })
const mixed: fc.Arbitrary<Scene> = fc.record({
  partitions,
  subscriptions: fc.array(fc.subarray(TOPICS), { minLength: 1, maxLength: 7 }),
})
const equal: fc.Arbitrary<Scene> = fc
  .record({ partitions, topics: fc.subarray(TOPICS), count: fc.integer({ min: 1, max: 9 }) })
  .map(({ topics, count, ...rest }) => ({
    ...rest,
    subscriptions: Array.from({ length: count }, () => topics),
  }))

function inputOf(scene: Scene, previous: ReadonlyMap<string, Assignment> = new Map()) {
  const members = new Map<string, AssignorMember>(
    scene.subscriptions.map((topics, i) => [
      `m${i}`,
      { instanceId: null, topics: new Set(topics), previous: previous.get(`m${i}`) ?? new Map() },
    ]),
  )
  const wanted = new Set(scene.subscriptions.flat())
  const topics = new Map(TOPICS.map((name, i) => [name, scene.partitions[i] as number]))
  for (const name of TOPICS) if (!wanted.has(name)) topics.delete(name)
  return { members, topics } satisfies AssignorInput
}

function pairs(assignment: Assignment): string[] {
  return [...assignment].flatMap(([topic, list]) => [...list].map((each) => `${topic}${each}`))
}

/** Every partition that somebody wants is one member's, who wants it. */
function checkComplete(input: AssignorInput, assigned: ReadonlyMap<string, Assignment>): void {
  assert.deepEqual([...assigned.keys()], [...input.members.keys()])
  const all = [...assigned.values()].flatMap(pairs)
  const wanted = [...input.topics].flatMap(([topic, count]) =>
    Array.from({ length: count }, (_, i) => `${topic}${i}`),
  )
  assert.deepEqual(all.sort(), wanted.sort())
  for (const [memberId, { topics }] of input.members) {
    for (const [topic, list] of assigned.get(memberId) as Assignment) {
      assert(topics.has(topic))
      assert(list.size > 0)
    }
  }
}

function counts(assigned: ReadonlyMap<string, Assignment>): number[] {
  return [...assigned.values()].map((each) => pairs(each).length)
}

function isEven(numbers: readonly number[]): boolean {
  return Math.max(...numbers) - Math.min(...numbers) <= 1
}

for (const [name, assign] of [
  ['assignUniform', assignUniform],
  ['assignRange', assignRange],
] as const satisfies readonly (readonly [string, Assignor])[]) {
  test(`${name}, any subscriptions and any past, gives everything to who wants it`, () => {
    fc.assert(
      fc.property(mixed, mixed, (before, after) => {
        const first = assign(inputOf(before))
        checkComplete(inputOf(before), first)
        checkComplete(inputOf(after), assign(inputOf(after, first)))
      }),
    )
  })
}

describe('assignUniform', () => {
  test('equal subscriptions, differs by one at most, whatever was before', () => {
    fc.assert(
      fc.property(mixed, equal, (before, after) => {
        assert(isEven(counts(assignUniform(inputOf(after, assignUniform(inputOf(before)))))))
      }),
    )
  })

  test('unequal subscriptions, leaves no partition that could move to who has two less', () => {
    fc.assert(
      fc.property(mixed, (scene) => {
        const input = inputOf(scene)
        const assigned = assignUniform(input)
        const size = (memberId: string): number => pairs(assigned.get(memberId)!).length
        for (const [owner, own] of assigned) {
          for (const topic of own.keys()) {
            for (const [other, { topics }] of input.members) {
              if (topics.has(topic)) assert(size(other) >= size(owner) - 1)
            }
          }
        }
      }),
    )
  })

  test('nothing has changed, moves nothing', () => {
    fc.assert(
      fc.property(mixed, (scene) => {
        const first = assignUniform(inputOf(scene))
        const again = assignUniform(inputOf(scene, first))
        for (const [memberId, own] of first) {
          assert.deepEqual(pairs(again.get(memberId)!).sort(), pairs(own).sort())
        }
      }),
    )
  })

  test('a member more or less, moves no more than its share', () => {
    fc.assert(
      fc.property(equal, (scene) => {
        const more = { ...scene, subscriptions: [...scene.subscriptions, scene.subscriptions[0]!] }
        const few = assignUniform(inputOf(scene))
        const many = assignUniform(inputOf(more, few))
        const newcomer = pairs(many.get(`m${scene.subscriptions.length}`)!).length
        assert.equal(movesBetween(few, many), newcomer)
        const fewAgain = assignUniform(inputOf(scene, many))
        assert.equal(movesBetween(many, fewAgain), newcomer)
      }),
    )
  })
})

/** Partitions that somebody has after who did not have them before. */
function movesBetween(
  before: ReadonlyMap<string, Assignment>,
  after: ReadonlyMap<string, Assignment>,
): number {
  let moves = 0
  for (const [memberId, own] of after) {
    const had = new Set(pairs(before.get(memberId) ?? new Map()))
    moves += pairs(own).filter((each) => !had.has(each)).length
  }
  return moves
}

describe('assignRange', () => {
  test('equal subscriptions, cuts topics of a size alike, in contiguous even shares', () => {
    const scene = { partitions: [7, 7, 2, 1], subscriptions: [TOPICS, TOPICS, TOPICS] }
    const assigned = assignRange(inputOf(scene))
    assert.deepEqual(
      [...assigned.values()].map((own) => [...own].map(([topic, list]) => [topic, [...list]])),
      [
        [
          ['a', [0, 1, 2]],
          ['b', [0, 1, 2]],
          ['c', [0]],
          ['d', [0]],
        ],
        [
          ['a', [3, 4]],
          ['b', [3, 4]],
          ['c', [1]],
        ],
        [
          ['a', [5, 6]],
          ['b', [5, 6]],
        ],
      ],
    )
  })

  test('a static member under another id, keeps its place', () => {
    const members = (ids: Record<string, string>): AssignorInput => ({
      topics: new Map([['a', 4]]),
      members: new Map(
        Object.entries(ids).map(([id, instanceId]) => [
          id,
          { instanceId, topics: new Set(['a']), previous: new Map() },
        ]),
      ),
    })
    const before = assignRange(members({ x: 'first', y: 'second' }))
    const after = assignRange(members({ y: 'second', z: 'first' }))
    assert.deepEqual(after.get('z'), before.get('x'))
    assert.deepEqual(after.get('y'), before.get('y'))
  })
})
