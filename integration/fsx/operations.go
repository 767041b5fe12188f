package fsx

import "context"

// operation is one kind, and how often it is done among all.
type operation struct {
	weight int
	do     func(context.Context, *tester) error
}

// operations are weighed so that what waits for the server, which is commits
// above all, takes about half the time.
func operations(opt Options) []operation {
	local := func(do func(*tester) error) func(context.Context, *tester) error {
		return func(_ context.Context, t *tester) error { return do(t) }
	}
	return []operation{
		{500, local((*tester).read)},
		{500, local((*tester).write)},
		{100, local((*tester).appendEnd)},
		{90, local((*tester).truncate)},
		{12, local((*tester).truncateName)},
		{120, local((*tester).fallocate)},
		{40, local((*tester).copyRange)},
		{100, local((*tester).mapWrite)},
		{60, local((*tester).mapRead)},
		{14, local((*tester).mapSync)},
		{20, local((*tester).unmap)},
		{60, local((*tester).seek)},
		{30, local((*tester).stat)},
		{40, local((*tester).dropPages)},
		{16, local((*tester).sync)},
		{90, local((*tester).open)},
		{60, local((*tester).close)},
		{14, local((*tester).rename)},
		{12, local((*tester).unlink)},
		{20, local((*tester).compareOne)},
		{max(1, opt.Large/3), local((*tester).stream)},
		{1, func(ctx context.Context, t *tester) error {
			t.note("remount")
			return t.remount(ctx)
		}},
	}
}

// choose gives the operation in which n falls, of the sum of all weights.
func choose(ops []operation, n int) operation {
	for _, op := range ops {
		if n -= op.weight; n < 0 {
			return op
		}
	}
	panic("n is not below the sum of the weights")
}
