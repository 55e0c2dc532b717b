package main

import (
	"runtime"
	"sync"
)

func init() {
	works["yield"] = work{procs: 1, run: yields}
	works["spawn_join"] = work{procs: 1, run: spawns}
	works["skynet_1m"] = work{unit: 1e6, run: skynets}
	works["skynet_1m_1"] = work{procs: 1, unit: 1e6, run: skynets}
}

// Two goroutines take turns.
func yields(count int) {
	var both sync.WaitGroup
	for i := 0; i < 2; i++ {
		both.Add(1)
		go func() {
			for ; count > 0; count-- {
				runtime.Gosched()
			}
			both.Done()
		}()
	}
	both.Wait()
}

func spawns(count int) {
	var one sync.WaitGroup
	for i := 0; i < count; i++ {
		one.Add(1)
		go one.Done()
		one.Wait()
	}
}

const leaves = 1000000

func skynets(count int) {
	for i := 0; i < count; i++ {
		c := make(chan int64)
		go skynet(c, 0, leaves)
		if <-c != leaves*(leaves-1)/2 {
			panic("wrong sum")
		}
	}
}

// A node of the tree: a leaf reports its number, others the sum of their ten children.
func skynet(to chan int64, first, size int64) {
	if size == 1 {
		to <- first
		return
	}
	c := make(chan int64)
	for i := int64(0); i < 10; i++ {
		go skynet(c, first+i*size/10, size/10)
	}
	sum := int64(0)
	for i := 0; i < 10; i++ {
		sum += <-c
	}
	to <- sum
}
