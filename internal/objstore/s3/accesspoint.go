package s3

import "strings"

// Access points (Amazon S3 User Guide, "Using Amazon S3 access points"; SDK
// reference, "S3 Access Points"): the ARN stands for the bucket's name in every
// request. The SDK makes it a host name, of the ARN's own region, and refuses it
// in a path. A copy names its source as ARN/object/KEY.

// isARN tells an access point from a bucket, whose name has no colon.
func isARN(bucket string) bool { return strings.HasPrefix(bucket, "arn:") }

// sourcePrefix is what stands before the key of a copy's source, not escaped.
func sourcePrefix(bucket string) string {
	if isARN(bucket) {
		return bucket + "/object/"
	}
	return bucket + "/"
}
