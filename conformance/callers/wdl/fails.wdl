version 1.0

task fails {
    command <<<
        echo "said before the end" >&2
        exit 7
    >>>
    runtime {
        docker: "docker.io/debian:stable-slim"
    }
}
