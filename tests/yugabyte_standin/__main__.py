from yugabyte_standin.server import main

main()
