import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type CpuProfile, flameGraph, type ProfileNode } from '../../bench/lib/flame-graph.ts'

function node(id: number, functionName: string, url: string, children: number[]): ProfileNode {
  return { id, callFrame: { functionName, url, lineNumber: 9 }, children }
}

const PROFILE: CpuProfile = {
  nodes: [
    node(1, '(root)', '', [2, 5, 6]),
    node(2, 'turn', 'file:///a/shard.js', [3, 4]),
    node(3, 'append', 'file:///a/log.js', []),
    // The same function, compiled anew: one box.
    node(4, 'append', 'file:///a/log.js', []),
    node(5, '(idle)', '', []),
    node(6, '(garbage collector)', '', []),
  ],
  samples: [2, 3, 4, 5, 6],
  timeDeltas: [1000, 2000, 4000, 50_000, 1000],
}

describe('a flame graph', () => {
  test('gives each function its share of what was done, by its callers', () => {
    const svg = flameGraph(PROFILE, 'a shard')
    assert.match(svg, /turn shard\.js:10: 87\.5 %, itself 12\.5 %/)
    assert.match(svg, /append log\.js:10: 75\.0 %, itself 75\.0 %/)
    assert.match(svg, /\(garbage collector\): 12\.5 %/)
    assert.equal(svg.split('append log.js:10: ').length, 2)
    assert.match(svg, /0\.01 s of work; idle for 0\.05 s/)
    assert.doesNotMatch(svg, /\(idle\)/)
  })

  test('survives a call chain of any depth, and what would be markup', () => {
    const deep = 20_000
    const nodes = Array.from({ length: deep }, (_, i) =>
      node(i + 1, `<f${i}>`, '', i + 1 < deep ? [i + 2] : []),
    )
    const svg = flameGraph({ nodes, samples: [deep], timeDeltas: [5] }, '<deep> & "wide"')
    assert.match(svg, /&#60;deep&#62; &#38; &#34;wide&#34;/)
    assert.doesNotMatch(svg, /<f1>/)
  })

  test('of a thread that did nothing, is refused', () => {
    const idle = { nodes: PROFILE.nodes, samples: [5], timeDeltas: [100] }
    assert.throws(() => flameGraph(idle, 'a shard'), /did nothing/)
  })
})
