package progress

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// width is that of a bar, in characters.
const width = 20

// Event is what a machine is told, one JSON object a line. Fields that are not
// known are absent.
type Event struct {
	Event   string    `json:"event"` // "progress", or "done" of the last
	What    string    `json:"what"`
	Time    time.Time `json:"time"`
	Objects int64     `json:"objects"`
	Bytes   int64     `json:"bytes"`
	OfObj   int64     `json:"of-objects,omitempty"`
	OfBytes int64     `json:"of-bytes,omitempty"`
	Rate    float64   `json:"bytes-per-second,omitempty"`
	ETA     float64   `json:"seconds-to-go,omitempty"`
	Elapsed float64   `json:"seconds"`
}

func (s state) event(what string, last bool) []byte {
	e := Event{
		Event: "progress", What: what, Time: s.at.UTC(), Objects: s.objects, Bytes: s.bytes,
		OfObj: s.ofObjects, OfBytes: s.ofBytes, Elapsed: s.at.Sub(s.began).Seconds(),
	}
	if last {
		e.Event = "done"
	}
	if rate, _ := s.rates(); rate > 0 {
		e.Rate = rate
	}
	if eta, ok := s.eta(); ok && !last {
		e.ETA = eta.Seconds()
	}
	b, err := json.Marshal(e)
	if err != nil {
		panic(err) // plain data
	}
	return append(b, '\n')
}

// smallObject is the size below which objects are not told of by their bytes.
const smallObject = 64 << 10

// line is such as: verifying [#####     ] 12 of 24 objects, 3 MiB of 6 MiB, 1.5 MiB/s, 2s to go
func (s state) line(what string) string {
	parts := []string{what}
	if share, ok := s.share(); ok {
		filled := int(share * width)
		parts[0] += fmt.Sprintf(" [%s%s]", strings.Repeat("#", filled), strings.Repeat(" ", width-filled))
	}
	var counts []string
	if s.objects > 0 || s.ofObjects > 0 {
		counts = append(counts, of(s.objects, s.ofObjects)+" objects")
	}
	if s.bytes > 0 || s.ofBytes > 0 {
		counts = append(counts, ofBytes(s.bytes, s.ofBytes))
	}
	bytes, objects := s.rates()
	switch {
	case bytes >= objects*smallObject && bytes > 0:
		counts = append(counts, fmt.Sprintf("%.1f MiB/s", bytes/(1<<20)))
	case objects > 0:
		counts = append(counts, fmt.Sprintf("%.1f objects/s", objects))
	}
	if eta, ok := s.eta(); ok {
		counts = append(counts, eta.Round(time.Second).String()+" to go")
	}
	if len(counts) == 0 {
		return what
	}
	return parts[0] + " " + strings.Join(counts, ", ")
}

func of(n, all int64) string {
	if all > 0 {
		return fmt.Sprintf("%d of %d", n, max(n, all))
	}
	return fmt.Sprint(n)
}

// ofBytes rounds what is to be done up, so that what is there is never shown as
// nothing, and what is done down.
func ofBytes(n, all int64) string {
	if all > 0 {
		return fmt.Sprintf("%d MiB of %d MiB", n>>20, mebi(max(n, all)))
	}
	return fmt.Sprintf("%d MiB", n>>20)
}

func mebi(n int64) int64 { return (n + 1<<20 - 1) >> 20 }

// objectWorth is how many bytes an object is reckoned as, beside those that it
// has: about what passes while it is asked for, so that a million small files
// are not nothing.
const objectWorth = 512 << 10

// work reckons objects and bytes together, as far as it is known how many of
// each there are.
func (s state) work(objects, bytes int64) float64 {
	switch {
	case s.ofBytes == 0:
		return float64(objects)
	case s.ofObjects == 0:
		return float64(bytes)
	}
	return float64(objects)*objectWorth + float64(bytes)
}

// share is how much of it is done, from 0 to 1, where that can be told.
func (s state) share() (float64, bool) {
	all := s.work(s.ofObjects, s.ofBytes)
	if all <= 0 {
		return 0, false
	}
	return min(1, s.work(s.objects, s.bytes)/all), true
}

// rates are bytes and objects in a second, 0 where it is too early to tell.
func (s state) rates() (bytes, objects float64) {
	seconds := s.at.Sub(s.resumed).Seconds()
	if seconds < 1 {
		return 0, 0
	}
	return float64(s.bytes-s.bytesBefore) / seconds, float64(s.objects-s.objectsBefore) / seconds
}

// eta is the time to go, where that can be told.
func (s state) eta() (time.Duration, bool) {
	all, seconds := s.work(s.ofObjects, s.ofBytes), s.at.Sub(s.resumed).Seconds()
	left := all - s.work(s.objects, s.bytes)
	rate := s.work(s.objects-s.objectsBefore, s.bytes-s.bytesBefore) / seconds
	if all <= 0 || left < 0 || seconds < 1 || rate <= 0 {
		return 0, false
	}
	return time.Duration(left / rate * float64(time.Second)), true
}
