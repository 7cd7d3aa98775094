package main

import (
	"strings"
	"testing"
)

func TestSummarize(t *testing.T) {
	for _, c := range []struct {
		name, in, want string
		ok             bool
	}{
		{"passing", `{"Action":"output","Package":"m/p","Test":"TestA","Output":"noise\n"}
{"Action":"pass","Package":"m/p","Test":"TestA","Elapsed":1}
{"Action":"pass","Package":"m/p","Test":"TestB","Elapsed":2.5}
{"Action":"output","Package":"m/p","Output":"PASS\n"}
{"Action":"output","Package":"m/p","Output":"ok  \tm/p\t3.5s\n"}
{"Action":"pass","Package":"m/p","Elapsed":3.5}
`, "ok  \tm/p\t3.5s\nslowest tests:\n    2.50 s  p TestB\n    1.00 s  p TestA\n", true},
		{"failing", `{"Action":"output","Package":"m/p","Test":"TestA","Output":"why\n"}
{"Action":"fail","Package":"m/p","Test":"TestA","Elapsed":1}
{"Action":"output","Package":"m/p","Output":"FAIL\tm/p\t1s\n"}
{"Action":"fail","Package":"m/p","Elapsed":1}
`, "why\nFAIL\tm/p\t1s\nslowest tests:\n    1.00 s  p TestA\nfailed tests:\n  p TestA\n", false},
		{"failing with reasons", `{"Action":"output","Package":"m/p","Test":"TestA","Output":"=== RUN   TestA\n"}
{"Action":"output","Package":"m/p","Test":"TestA","Output":"    a_test.go:7: 1, want 2\n"}
{"Action":"output","Package":"m/p","Test":"TestA","Output":"        on the console\n"}
{"Action":"fail","Package":"m/p","Test":"TestA","Elapsed":1}
`, "=== RUN   TestA\n    a_test.go:7: 1, want 2\n        on the console\nslowest tests:\n    1.00 s  p TestA\nfailed tests:\n  p TestA\n    a_test.go:7: 1, want 2\n", false},
		{"skipped", `{"Action":"output","Package":"m/p","Test":"TestA","Output":"needs root\n"}
{"Action":"skip","Package":"m/p","Test":"TestA"}
`, "needs root\nslowest tests:\n    0.00 s  p TestA\n", true},
		{"not built", "# m/p\n" + `{"Action":"build-output","ImportPath":"m/p","Output":"p.go:1: no\n"}
{"Action":"build-fail","ImportPath":"m/p"}
`, "# m/p\np.go:1: no\n", false},
		{"cut off in a test", `{"Action":"output","Package":"m/p","Test":"TestA","Output":"panic: x\n"}
{"Action":"fail","Package":"m/p"}
`, "panic: x\n", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out strings.Builder
			if ok := summarize(strings.NewReader(c.in), &out); ok != c.ok || out.String() != c.want {
				t.Errorf("ok %v, printed %q; want %v, %q", ok, out.String(), c.ok, c.want)
			}
		})
	}
}
