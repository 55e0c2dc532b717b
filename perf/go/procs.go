package main

import (
	"sync/atomic"
	_ "unsafe" // for linkname
)

//go:linkname procPin runtime.procPin
func procPin() int

//go:linkname procUnpin runtime.procUnpin
func procUnpin()

// proc is the P that runs the caller now.
func proc() int {
	p := procPin()
	procUnpin()
	return p
}

// Two goroutines that meet run at the same moment, hence on two Ps. Where they go from there is the
// scheduler's choice: apart is the share of samples in which they were on different ones.
type meeting struct {
	arrived      atomic.Int32
	other        atomic.Int32
	seen, differ int
}

const sampleEvery = 64

func (m *meeting) meet() {
	m.arrived.Add(1)
	for m.arrived.Load() < 2 {
	}
}

func (m *meeting) report(i int) {
	if i%sampleEvery == 0 {
		m.other.Store(int32(proc()))
	}
}

func (m *meeting) compare(i int) {
	if i%sampleEvery == 0 {
		m.seen++
		if int32(proc()) != m.other.Load() {
			m.differ++
		}
	}
}

func (m *meeting) apart() {
	extra["apart"] = float64(m.differ) / float64(m.seen)
}
