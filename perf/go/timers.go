package main

import (
	"context"
	"time"
)

func init() {
	works["timer"] = work{procs: 1, run: timers}
	works["timer_1m"] = work{procs: 1, run: timers, prepare: millionTimers}
	works["after_func"] = work{procs: 1, run: afterFuncs}
	works["after_func_1m"] = work{procs: 1, run: afterFuncs, prepare: millionAfterFuncs}
	works["context_timeout"] = work{procs: 1, run: contexts}
	works["context_handle"] = work{procs: 1, run: contexts}
}

var random uint32 = 1

// duration is between one minute and an hour or so, different each time.
func duration() time.Duration {
	random = random*1664525 + 1013904223
	return time.Minute + time.Duration(random)*1000
}

func timers(count int) {
	for i := 0; i < count; i++ {
		time.NewTimer(duration()).Stop()
	}
}

func afterFuncs(count int) {
	for i := 0; i < count; i++ {
		time.AfterFunc(duration(), func() {}).Stop()
	}
}

var pending [1000000]*time.Timer

func millionTimers() {
	for i := range pending {
		pending[i] = time.NewTimer(duration())
	}
}

func millionAfterFuncs() {
	for i := range pending {
		pending[i] = time.AfterFunc(duration(), func() {})
	}
}

func contexts(count int) {
	for i := 0; i < count; i++ {
		_, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		cancel()
	}
}
