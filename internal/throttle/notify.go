package throttle

import "sync"

// broadcast wakes everything that waits for a change. The zero value is ready to use.
type broadcast struct {
	mu sync.Mutex
	ch chan struct{}
}

// next returns a channel that is closed by the next send.
func (b *broadcast) next() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch == nil {
		b.ch = make(chan struct{})
	}
	return b.ch
}

func (b *broadcast) send() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch != nil {
		close(b.ch)
		b.ch = nil
	}
}

// queue hands values to a function in the order in which they were pushed, outside the
// lock that was held then.
type queue[T any] struct {
	tell func(T) // nil: nothing is kept

	mu    sync.Mutex
	items []T
	busy  bool
}

func (q *queue[T]) push(v T) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.tell != nil {
		q.items = append(q.items, v)
	}
}

// drain passes on what was pushed, unless another goroutine is at it.
func (q *queue[T]) drain() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.busy {
		return
	}
	q.busy = true
	for len(q.items) > 0 {
		v := q.items[0]
		q.items = q.items[1:]
		q.mu.Unlock()
		q.tell(v)
		q.mu.Lock()
	}
	q.busy = false
}
