// vocabulary measures one operation of Go's: vocabulary WORK [SECONDS]. The program of the same name in
// perf/vocabulary does the same loops with gyre. It prints one JSON object.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"time"
)

// A work is a loop of count operations, and how many Ps it runs on (0: one per CPU).
type work struct {
	procs   int
	unit    float64 // ns, or 1e6 for ms; 0: 1
	run     func(count int)
	prepare func()         // if set, run is measured before it and after it
	bytes   func() float64 // in place of run
}

var works = map[string]work{}

// figures that a run leaves beside its time
var extra = map[string]float64{}

// nsPerOperation lengthens the loop until it takes the time asked for.
func nsPerOperation(run func(int), seconds float64) float64 {
	goal := seconds * 1e9
	for count := 1; ; {
		start := time.Now()
		run(count)
		took := float64(time.Since(start).Nanoseconds())
		switch {
		case took >= goal:
			return took / float64(count)
		case took < goal/100:
			count *= 10
		default:
			count = 1 + int(1.2*goal/took*float64(count))
		}
	}
}

func main() {
	seconds := 0.2
	if len(os.Args) > 2 {
		seconds, _ = strconv.ParseFloat(os.Args[2], 64)
	}
	var w work
	found := false
	if len(os.Args) > 1 {
		w, found = works[os.Args[1]]
	}
	if !found {
		fmt.Fprintln(os.Stderr, "usage: vocabulary WORK [SECONDS]; scripts/bench --list names them")
		os.Exit(2)
	}
	if w.procs > 0 {
		runtime.GOMAXPROCS(w.procs)
	}
	if w.bytes != nil {
		extra["value"] = w.bytes()
	} else {
		before := 0.0
		if w.prepare != nil {
			before = nsPerOperation(w.run, seconds)
			w.prepare()
		}
		value := nsPerOperation(w.run, seconds)
		if w.prepare != nil {
			extra["growth"] = value / before
		}
		if w.unit > 0 {
			value /= w.unit
		}
		extra["value"] = value
	}
	json.NewEncoder(os.Stdout).Encode(extra)
}
