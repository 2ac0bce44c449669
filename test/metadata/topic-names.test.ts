/** Topics by name, and whom a new name would collide with. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Topic } from '../../src/metadata/topic.ts'
import { collisionKey, TopicNames } from '../../src/metadata/topic-names.ts'
import { withSeed } from '../support/seed.ts'

const ALPHABET = ['a', 'b', '.', '_']

test('a colliding name is found as by looking at all of them', () =>
  withSeed('test/metadata/topic-names.test.ts', (random) => {
    const names = new TopicNames()
    for (let step = 0; step < 2000; step++) {
      const length = random.between(1, 3)
      const name = Array.from({ length }, () => random.pick(ALPHABET)).join('')
      const expected = [...names.keys()].find((other) => {
        return other !== name && collisionKey(other) === collisionKey(name)
      })
      assert.equal(names.collidingWith(name), expected)
      if (names.has(name)) names.delete(name)
      else if (expected === undefined) names.set(name, {} as Topic)
    }
    names.clear()
    assert.equal(names.collidingWith('a.b'), undefined)
  }))
