// Bench measures the built binary from outside, beside the clients that people
// would use instead: it starts MinIO over TLS, puts a proxy before it that
// counts requests and bytes and holds each request for a round trip, mounts, and
// prints a table of times, ratios and counts. Counts are exact and come from the
// proxy; times are of this machine, on which server, proxy and client share the
// processors, and fail nothing.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/sigilfs/sigilfs/integration/daemon"
)

func main() {
	opt := options{}
	flag.BoolVar(&opt.full, "full", false, "full size: 20 GiB streamed, 10,000 small files")
	flag.StringVar(&opt.encryption, "encryption", "client", "`mode` of the mount: client, none or sse-s3")
	only := flag.String("run", "", "measure what matches this `expression` only")
	trips := flag.String("latency", "0s,15ms", "round `trips` to the server, one table each")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := opt.parse(*only, *trips)
	if err == nil {
		err = run(ctx, opt)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

// options are those of the command line.
type options struct {
	full       bool
	encryption string
	only       *regexp.Regexp
	trips      []time.Duration
}

func (o *options) parse(only, trips string) (err error) {
	if o.only, err = regexp.Compile(only); err != nil {
		return err
	}
	for text := range strings.SplitSeq(trips, ",") {
		d, err := time.ParseDuration(text)
		if err != nil {
			return err
		}
		o.trips = append(o.trips, d)
	}
	return nil
}

// size is small unless everything is to be in full size.
func (o *options) size(small, full int64) int64 {
	if o.full {
		return full
	}
	return small
}

func run(ctx context.Context, opt options) (err error) {
	dir, remove, err := daemon.WorkDir("sigilfs-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	b, err := newBed(ctx, dir, opt)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close(ctx)) }()
	for _, trip := range opt.trips {
		if err := b.table(ctx, trip); err != nil {
			return err
		}
	}
	return nil
}

// table measures everything at one distance, and prints it as it comes.
func (b *bed) table(ctx context.Context, trip time.Duration) error {
	b.proxy.Far(trip)
	fmt.Printf("\nMode %s, a round trip of %v before each request.\n\n%s\n", b.opt.encryption, trip, header)
	for _, s := range scenarios {
		if !b.opt.only.MatchString(s.name) {
			continue
		}
		results, err := s.measure(ctx, b)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		for _, r := range results {
			fmt.Println(r.line(s.name, reference(results)))
		}
	}
	return nil
}
