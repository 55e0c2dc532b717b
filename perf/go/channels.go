package main

import "runtime"

func init() {
	works["chan_round_trip"] = work{procs: 1, run: func(n int) { roundTrips(n, 1) }}
	works["chan_round_trip_2"] = work{procs: 2, run: func(n int) { roundTrips(n, 2) }}
	works["chan_buffered"] = work{procs: 1, run: buffered}
	works["chan_across"] = work{procs: 2, run: func(n int) { across(n, 0, false) }}
	works["chan_across_work"] = work{procs: 2, run: func(n int) { across(n, workPerItem, false) }}
	works["chan_across_bound"] = work{procs: 2, run: func(n int) { across(n, 0, true) }}
	works["select_3"] = work{procs: 1, run: selects}
	works["chan_idle"] = work{bytes: idleBytes}
}

// One value there and one back on two unbuffered channels.
func roundTrips(count, procs int) {
	there, back, ended := make(chan int64), make(chan int64), make(chan struct{})
	var m meeting
	go func() {
		if procs == 2 {
			m.meet()
		}
		i := 0
		for v := range there {
			if procs == 2 {
				m.report(i)
			}
			i++
			back <- v + 1
		}
		close(ended)
	}()
	if procs == 2 {
		m.meet()
	}
	for i := 0; i < count; i++ {
		there <- int64(i)
		if procs == 2 {
			m.compare(i)
		}
		if <-back != int64(i)+1 {
			panic("wrong answer")
		}
	}
	close(there)
	<-ended
	if procs == 2 {
		m.apart()
	}
}

// A send and a receive by the same goroutine: nobody waits.
func buffered(count int) {
	c := make(chan int64, 128)
	for i := 0; i < count; i++ {
		c <- int64(i)
		if <-c != int64(i) {
			panic("wrong value")
		}
	}
}

// About 100 ns of computing.
const workPerItem = 64

func compute(value int64, steps int) int64 {
	for ; steps > 0; steps-- {
		value = value*6364136223846793005 + 1442695040888963407
	}
	return value
}

// One sends, the other receives, room for 128; both compute some steps for each item. Bound: each is
// locked to a thread of its own.
func across(count, steps int, bound bool) {
	c, ended := make(chan int64, 128), make(chan int64)
	var m meeting
	go func() {
		if bound {
			runtime.LockOSThread()
		}
		m.meet()
		sum := int64(0)
		for i := 0; i < count; i++ {
			m.report(i)
			sum += compute(int64(i), steps)
			c <- int64(i)
		}
		close(c)
		ended <- sum
	}()
	go func() {
		if bound {
			runtime.LockOSThread()
		}
		m.meet()
		expected, sum := int64(0), int64(0)
		for v := range c {
			m.compare(int(expected))
			if v != expected {
				panic("wrong value")
			}
			sum += compute(v, steps)
			expected++
		}
		ended <- sum
	}()
	if <-ended != <-ended {
		panic("wrong sum")
	}
	m.apart()
}

// Each select has three cases, of which one is ready: the one that fills z, then the one that empties
// it.
func selects(count int) {
	x, y, z := make(chan int64), make(chan int64), make(chan int64, 1)
	for i := 0; i < count; i += 2 {
		select {
		case <-x:
			panic("x")
		case <-y:
			panic("y")
		case z <- int64(i):
		}
		select {
		case <-x:
			panic("x")
		case <-y:
			panic("y")
		case <-z:
		}
	}
}

const idleChannels = 100000

func heap() float64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return float64(stats.HeapAlloc)
}

func idleBytes() float64 {
	channels := make([]chan int64, idleChannels)
	before := heap()
	for i := range channels {
		channels[i] = make(chan int64)
	}
	bytes := (heap() - before) / idleChannels
	runtime.KeepAlive(channels)
	return bytes
}
