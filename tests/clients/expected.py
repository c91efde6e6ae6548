"""What must fail today, and why.

What must stay true
- A row names a check by pass and name, and says the reason and the step that ends it.
- A check with a row that works is reported and fails the run: the row has to go. So is a row whose check is no more.
"""

MULTIPART = "step 2: multipart is not built"

EXPECTED = {
    ("boto3", "checksums: GetObjectAttributes"): "step 2: it comes with the parts that it lists",
    ("boto3", "multipart: made, filled, completed"): MULTIPART,
    ("awscli", "cp: a file above the multipart threshold"): MULTIPART,
    ("rclone", "copyto: a file above the cutoff"): MULTIPART,
    ("s3cmd", "put: a file above the chunk size"): MULTIPART,
    ("s5cmd", "cp: a file above the part size"): MULTIPART,
    ("minio", "put: above the part size"): MULTIPART,
    ("minio", "compose_object"): MULTIPART,
    ("javascript", "multipart"): MULTIPART,
    ("obstore", "put: multipart"): MULTIPART,
}
